class Product < ApplicationRecord
  # Not `:destroy`: reading the reviews first would make SQLite upgrade a lock within the transaction, and parallel
  # deletes would fail as "database is locked" instead of waiting for each other.
  has_many :reviews, -> { order(:id) }, inverse_of: :product, dependent: :delete_all

  attribute :price, ExactDecimal.new

  validates :title, presence: true
  validates :price, numericality: { greater_than_or_equal_to: 0 }, allow_nil: true
end
