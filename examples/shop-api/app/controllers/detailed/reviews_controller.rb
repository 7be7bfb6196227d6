class Detailed::ReviewsController < ReviewsController
end
