# Makes any action slow when it is reached by /faults/slow. The wait holds a Puma thread, as a slow query would.
module Dawdling
  extend ActiveSupport::Concern

  LONGEST = 30.0

  included do
    before_action :dawdle, if: -> { request.path_parameters.key?(:seconds) }
  end

  private

  def dawdle
    sleep delay
  end

  def delay
    (request.query_parameters[:seconds] || params[:seconds]).to_f.clamp(0.0, LONGEST)
  end
end
