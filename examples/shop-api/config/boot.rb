# There is no Gemfile: the gems come from the system's packages, so the versions are held here instead of in a lockfile.
%w[railties activerecord actionpack].each { |name| gem name, "~> 6.1.0" }

# One environment only. The bridge is tested against what production answers: error bodies instead of debug pages.
ENV["RAILS_ENV"] ||= "production"
