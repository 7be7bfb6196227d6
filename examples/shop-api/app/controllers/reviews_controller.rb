class ReviewsController < ApplicationController
  before_action :set_product

  def index
    render json: @product.reviews
  end

  def create
    review = @product.reviews.build(review_params)

    if review.save
      render json: review, status: :created
    else
      render json: { errors: review.errors }, status: :unprocessable_entity
    end
  end

  private

  def set_product
    @product = Product.find(params[:product_id])
  end

  def review_params
    params.require(:review).permit(:name, :message, :rate)
  end
end
