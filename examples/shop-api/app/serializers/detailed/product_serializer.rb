class Detailed::ProductSerializer < ActiveModel::Serializer
  attributes :id, :title, :price, :created_at, :updated_at

  has_many :reviews
end
