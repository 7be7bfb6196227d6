Rails.application.routes.draw do
  concern :catalogue do
    resources :products do
      resources :reviews, only: %i[index create]
    end
  end

  concern :shop do
    concerns :catalogue
    namespace(:detailed) { concerns :catalogue }
  end

  concerns :shop

  # Every fault also answers below its own path, so that a proxy can be given it as a base URL.
  scope "faults" do
    match "error(/*rest)", to: "faults#error", via: :all
    match "maintenance(/*rest)", to: "faults#maintenance", via: :all
    # Not an action, for a controller would add a charset and headers that Rack::Attack does not send.
    match "too_many(/*rest)", via: :all, to: lambda { |_env|
      [429, { "Content-Type" => "text/plain", "Retry-After" => "7" }, ["Retry later\n"]]
    }

    scope "slow(/:seconds)", constraints: { seconds: /\d+(\.\d+)?/ }, defaults: { seconds: "2" } do
      get "/", to: "faults#slow"
      concerns :shop
    end
  end
end
