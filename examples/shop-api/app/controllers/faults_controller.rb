class FaultsController < ApplicationController
  # Not rescued: the answer must be the one that ActionDispatch::PublicExceptions gives.
  def error
    raise "the shop fell over"
  end

  def slow
    render json: { slept: delay }
  end

  def maintenance
    response.headers["Retry-After"] = 60.seconds.from_now.httpdate
    render plain: "Down for maintenance\n", status: :service_unavailable
  end
end
