ActiveModelSerializers.config.adapter = :json
