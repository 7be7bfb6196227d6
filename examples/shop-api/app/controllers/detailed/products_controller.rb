# The namespace is all the difference: ActiveModelSerializers looks for its serializers in the controller's own.
class Detailed::ProductsController < ProductsController
end
