-- Tables that the rules split by the customer: each shard has the same, empty.
CREATE TABLE shop.customers (
  id INT UNSIGNED PRIMARY KEY,
  name VARCHAR(100) NOT NULL
);
CREATE TABLE shop.orders (
  id BIGINT UNSIGNED PRIMARY KEY,  -- made by Tidegate where it is not given
  customer_id INT UNSIGNED NOT NULL,
  product VARCHAR(100) NOT NULL,
  KEY (customer_id)
);
