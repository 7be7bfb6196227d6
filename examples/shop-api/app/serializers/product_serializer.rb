class ProductSerializer < ActiveModel::Serializer
  attributes :title, :price

  has_many :reviews
end
