threads 5, 5
environment "production"
bind "tcp://#{ENV.fetch("SHOP_BIND", "127.0.0.1")}:#{ENV.fetch("PORT", 3000)}"
