Rails.application.configure do
  config.cache_classes = true
  config.eager_load = true
  config.consider_all_requests_local = false
  config.action_controller.perform_caching = false
  config.cache_store = :null_store
  config.public_file_server.enabled = false

  # The checkout may be read-only: nothing is written beside the sources.
  config.active_record.dump_schema_after_migration = false
  $stdout.sync = true
  config.logger = ActiveSupport::TaggedLogging.new(ActiveSupport::Logger.new($stdout))
  config.log_level = ENV.fetch("SHOP_LOG", "warn")
  config.log_tags = [:request_id]

  # Real ways for a Rails API to refuse a proxy, each off unless asked for.
  config.force_ssl = ENV["SHOP_FORCE_SSL"] == "1"
  config.hosts = ENV.fetch("SHOP_HOSTS", "").split(",")
  # Outermost, so that error answers are compressed as well.
  config.middleware.insert_before 0, Rack::Deflater if ENV["SHOP_GZIP"] == "1"
end
