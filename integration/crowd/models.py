"""A shop's tables, as an application declares them."""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import JSON, DateTime, ForeignKey, Index, Numeric, String, Text, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

#: Rows that never change, for reads that replicas may answer.
PRODUCTS = 200


class Base(DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = "orm_customer"
    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[int] = mapped_column(index=True)
    name: Mapped[str] = mapped_column(String(80))
    balance: Mapped[Decimal] = mapped_column(Numeric(12, 2), default=Decimal(0))
    version: Mapped[int] = mapped_column()
    since: Mapped[datetime] = mapped_column(DateTime, server_default=func.now())
    orders: Mapped[list["Order"]] = relationship(back_populates="customer", cascade="all, delete-orphan")
    __mapper_args__ = {"version_id_col": version}


class Order(Base):
    __tablename__ = "orm_order"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("orm_customer.id", ondelete="CASCADE"))
    note: Mapped[str | None] = mapped_column(Text)
    details: Mapped[dict | None] = mapped_column(JSON)
    customer: Mapped[Customer] = relationship(back_populates="orders")
    items: Mapped[list["Item"]] = relationship(back_populates="order", cascade="all, delete-orphan")


class Item(Base):
    __tablename__ = "orm_item"
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orm_order.id", ondelete="CASCADE"))
    product_id: Mapped[int] = mapped_column(ForeignKey("orm_product.id"))
    amount: Mapped[int] = mapped_column(default=1)
    order: Mapped[Order] = relationship(back_populates="items")
    product: Mapped["Product"] = relationship()


class Product(Base):
    __tablename__ = "orm_product"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    code: Mapped[str] = mapped_column(String(20), unique=True)
    price: Mapped[Decimal] = mapped_column(Numeric(10, 2))
    __table_args__ = (Index("orm_product_price", "price", "code"),)


class Event(Base):
    __tablename__ = "orm_event"
    owner: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    body: Mapped[str] = mapped_column(String(200))
    seen: Mapped[int] = mapped_column(default=0)
