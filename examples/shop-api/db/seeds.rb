# Tests rely on these very rows: no randomness, no clock. Ids are given, not counted, so that nothing shifts when a row
# is added. There is no product 9, and there must never be one.

EPOCH = Time.utc(2021, 3, 14, 15, 9, 26, 535_897)

def review(id, name, message, rate)
  { id: id, name: name, message: message, rate: rate }
end

# Past validation on purpose: the shop is older than its rules, and rows that break them are still served.
def product(id, title, price, *reviews)
  times = { created_at: EPOCH + id.hours, updated_at: EPOCH + id.days }
  product = Product.new(id: id, title: title, price: price, **times)
  product.save!(validate: false)
  reviews.each { |review| product.reviews.build(**review, **times).save!(validate: false) }
end

Product.transaction do
  product 1, "Veranda Symphony", "83.84",
          review(4, "Msgr. Arron Morissette", "Nisi est ut consequatur.", 2.0)
  product 2, "Pumpkin-spice Cake", "76.56"
  product 3, "Café Volcano", "31.24",
          review(1, "Renée Dūda", "Très bon, un peu fort.", 4.5),
          review(2, "Hiro Sato", "Worth every cup.", 5.0),
          review(3, "Ann O'Dwyer", "Cold when it came.", 1.5)

  # Nulls and emptiness
  product 4, nil, nil
  product 5, "", "0.0"
  product 6, "Reviewed in silence", "12.5",
          review(10, nil, nil, nil),
          review(11, "", "", 0.0),
          review(12, nil, "Only a message.", nil),
          review(13, "Only a name", nil, nil)

  # Numbers that do not fit a double
  product 7, "Exact to the last digit", "12345678901234567890.123456789"
  product 8, "Thirty digits", "123456789012345678901234567890"
  product 10, "One trailing zero", "20.0"
  product 11, "Hardly anything", "0.000000000000000000000000000001"
  product 12, "Money back", "-1.5"
  product 13, "Rates of every form", "3.14",
          review(20, "Long", "No short decimal.", 3.3333333333333335),
          review(21, "Small", "Written with an exponent.", 0.00001),
          review(22, "Great", "Far above the rules.", 1e20),
          review(23, "Below", "Below the rules.", -0.5)

  # Letters
  product 20, "日本語の急須", "45.0"
  product 21, "Emoji ☕️ 👩‍🍳 🏳️‍🌈", "1.99"
  product 22, "قهوة عربية", "18.75",
          review(30, "ליאור", "מצוין, ‏תודה!", 5.0)
  product 23, "Cafe\u0301 de\u0301compose\u0301", "9.9"

  # Whatever JSON must escape, and whatever Rails escapes on top of that
  product 30, %q(The "quoted" \ back\slash / slash), "5.0"
  product 31, "Line one\nline two\r\n\tindented", "5.0"
  product 32, "Control \u0001 \u001F \u007F characters", "5.0"
  product 33, "<script>alert('1 & 2')</script>", "5.0"
  product 34, "Line\u2028separator, paragraph\u2029separator", "5.0"
  product 35, " spaces around ", "5.0"
  product 36, "a/b?c=d&e=%20+f#g;../..", "5.0"

  # Size
  product 40, "A long story", "40.0",
          review(40, "Scheherazade", ("A thousand and one nights. " * 760).first(20_480), 5.0)

  # A list of real length: products 101 to 300
  nouns = %w[Kettle Teapot Grinder Mug Filter Scale Tamper Carafe]
  adjectives = %w[Copper Quiet Nordic Double Patient Midnight Enamel]
  (101..300).each do |id|
    reviews = Array.new(id % 6) do |n|
      review(id * 10 + n, "Customer #{n + 1}", "Bought no. #{id}, came back #{n} times.", (id + n) % 11 / 2.0)
    end
    product id, "#{adjectives[id % 7]} #{nouns[id % 8]} #{id}", BigDecimal(id * 137) / 100, *reviews
  end
end
