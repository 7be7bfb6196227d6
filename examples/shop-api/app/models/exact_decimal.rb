# A decimal kept as text. In SQLite a `decimal` column has NUMERIC affinity, which turns long numbers into doubles, and
# the adapter binds a BigDecimal as a Float before that; both keep about 16 digits. PostgreSQL's `numeric`, which this
# stands for, keeps all of them. The price paid: SQL compares and sorts these columns as text.
class ExactDecimal < ActiveRecord::Type::Decimal
  def serialize(value)
    cast(value)&.to_s("F")
  end

  private

  # Without a declared precision Rails rounds numbers, though not strings, to 18 digits.
  def cast_value(value)
    value.is_a?(Numeric) ? value.to_d : super
  end
end
