require_relative "boot"

require "rails"
require "active_model/railtie"
require "active_record/railtie"
require "action_controller/railtie"
require "active_model_serializers"

module ShopApi
  class Application < Rails::Application
    config.load_defaults 6.1
    config.api_only = true

    # Nothing is signed or encrypted (no cookies, no sessions), so a key that dies with the process will do.
    config.secret_key_base = ENV.fetch("SECRET_KEY_BASE") { SecureRandom.hex(64) }
  end
end
