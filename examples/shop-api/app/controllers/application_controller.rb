class ApplicationController < ActionController::API
  include Dawdling
end
