-- Tables of the home: those that the rules do not split.
CREATE TABLE shop.products (
  id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY,
  name VARCHAR(100) NOT NULL,
  price DECIMAL(10, 2) NOT NULL
);
INSERT INTO shop.products (name, price) VALUES ('anchor', 49.90), ('rope', 12.50), ('sail', 310.00);
