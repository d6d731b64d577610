"""What an application's thread does in one go. Each unit checks its answers, leaves the connection as its pool wants it, and
touches rows of its own thread only, so that two threads seldom lock each other out."""

import contextlib
import random
from decimal import Decimal
from uuid import uuid4

from mysql.connector.cursor import MySQLCursorPrepared
from sqlalchemy import MetaData, delete, func, insert, inspect, select, text, update
from sqlalchemy.dialects.mysql import insert as upsert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, joinedload, selectinload, subqueryload

from .models import PRODUCTS, Base, Customer, Event, Item, Order, Product

#: Units that hold what cannot be replayed; a program does that now and then, not always.
PINNING_SHARE = 0.1


class Deviation(Exception):
    """An answer that one server would not have given."""


def same(what: str, found, expected) -> None:
    if found != expected:
        raise Deviation(f"{what}: found {found!r}, expected {expected!r}")


def basket(engine, owner: int) -> None:
    """New rows through three relationships; autoflush shows them to a query of the same session."""
    with Session(engine) as session:
        customer = Customer(owner=owner, name=f"Zoë {owner}", balance=Decimal("10.50"))
        order = Order(customer=customer, note=f"café \U0001f680 {uuid4()}", details={"gift": True})
        order.items = [Item(product_id=random.randrange(PRODUCTS), amount=amount) for amount in (1, 2, 3)]
        session.add_all((customer, order))
        ordered = select(func.sum(Item.amount)).join(Item.order).where(Order.customer == customer, Order.note == order.note)
        same("items by autoflush", session.scalar(ordered), 6)
        session.commit()
        same("the row after commit", (customer.name, customer.balance, customer.version), (f"Zoë {owner}", Decimal("10.50"), 1))
        same("JSON", order.details, {"gift": True})


def locked(engine, owner: int) -> None:
    """SELECT … FOR UPDATE, then an UPDATE that counts on the version column's row count."""
    with Session(engine) as session, session.begin():
        rows = session.scalars(select(Customer).where(Customer.owner == owner).order_by(Customer.id).with_for_update()).all()
        wanted = {customer.id: customer.balance + 1 for customer in rows[-3:]}
        for customer in rows[-3:]:
            customer.balance += 1
    with Session(engine) as session:
        after = session.execute(select(Customer.id, Customer.balance).where(Customer.id.in_(wanted)))
        same("the balances", {row.id: row.balance for row in after}, wanted)


def savepoint(engine, owner: int) -> None:
    """A duplicate inside a savepoint; the transaction around it goes on."""
    with Session(engine, expire_on_commit=False) as session, session.begin():
        customer = Customer(owner=owner, name="outer")
        session.add(customer)
        session.flush()
        try:
            with session.begin_nested():
                session.add(Product(id=PRODUCTS + 1 + owner, code="P0", price=Decimal(1)))
                session.flush()
            raise Deviation("a duplicate was taken")
        except IntegrityError as error:
            same("the duplicate's error", error.orig.args[0], 1062)
        with session.begin_nested():
            session.add(Order(customer=customer, note="inner"))
    with Session(engine) as session:
        same("what the savepoint left", session.scalars(select(Order.note).where(Order.customer_id == customer.id)).all(), ["inner"])
        session.execute(delete(Customer).where(Customer.id == customer.id))
        session.commit()


def bulk(engine, owner: int) -> None:
    """Bulk insert, INSERT … ON DUPLICATE KEY UPDATE, bulk update, delete, each with its row count. The DELETE locks the gap in which its rows
    are to be, and the gap to the next owner's; two owners who insert there next wait for each other: InnoDB's deadlock, to be tried again."""
    rows = [{"owner": owner, "number": number, "body": "x" * 100} for number in range(200)]
    with Session(engine) as session:
        session.execute(delete(Event).where(Event.owner == owner))
        session.execute(insert(Event), rows)
        statement = upsert(Event).values(rows[:50])
        session.execute(statement.on_duplicate_key_update(seen=Event.seen + 1, body=statement.inserted.body))
        session.bulk_save_objects([Event(owner=owner, number=number, body="late") for number in range(200, 220)])
        same("rows", session.scalar(select(func.count()).select_from(Event).where(Event.owner == owner)), 220)
        done = session.execute(update(Event).where(Event.owner == owner, Event.seen == 1).values(seen=2))
        same("updated", done.rowcount, 50)
        session.commit()


def loading(engine, owner: int) -> None:
    """Relationships lazily, joined, by IN and by subquery."""
    with Session(engine) as session:
        for option in (None, joinedload(Customer.orders).selectinload(Order.items), selectinload(Customer.orders).joinedload(Order.items),
                       subqueryload(Customer.orders)):
            query = select(Customer).where(Customer.owner == owner).order_by(Customer.id.desc()).limit(3)
            for customer in session.scalars(query.options(option) if option else query).unique():
                for order in customer.orders:
                    same("the way back", order.customer.id, customer.id)
                    for item in order.items:
                        same("the product", item.product.code, f"P{item.product_id}")
            session.expunge_all()


def reflection(engine, _owner: int) -> None:
    """The schema, read back by MetaData.reflect and the inspector."""
    metadata = MetaData()
    metadata.reflect(engine, only=lambda name, _: name.startswith("orm_"))
    same("tables", sorted(metadata.tables), sorted(Base.metadata.tables))
    same("a foreign key", [key.target_fullname for key in metadata.tables["orm_order"].foreign_keys], ["orm_customer.id"])
    inspector = inspect(engine)
    same("an index", "orm_product_price" in {index["name"] for index in inspector.get_indexes("orm_product")}, True)
    same("views", inspector.get_view_names(), [])
    same("the database", inspector.default_schema_name, "test")


def isolation(engine, _owner: int) -> None:
    """Isolation levels for one checkout; the pool hands the connection on with the default."""
    for level in ("READ COMMITTED", "SERIALIZABLE", "READ UNCOMMITTED"):
        with engine.connect().execution_options(isolation_level=level) as connection:
            same("the level", connection.get_isolation_level(), level)
            same("a row", connection.scalar(select(Product.code).where(Product.id == 7)), "P7")
    with engine.connect() as connection:
        same("the level after", connection.get_isolation_level(), "REPEATABLE READ")


def plain(engine, _owner: int) -> None:
    """Reads without a transaction, which replicas answer."""
    with autocommit(engine) as connection:
        for _ in range(10):
            wanted = random.randrange(PRODUCTS)
            same("a product", connection.execute(select(Product.code).where(Product.id == wanted)).all(), [(f"P{wanted}",)])
        same("all", len(connection.execution_options(yield_per=50).scalars(select(Product.id)).all()), PRODUCTS)


@contextlib.contextmanager
def autocommit(engine):
    """A connection without transactions; SQLAlchemy has no word for it with mysql-connector."""
    if engine.driver == "pymysql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            yield connection
        return
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        driver.autocommit = True
        try:
            yield connection
        finally:
            driver.autocommit = False


def rolled_back(engine, owner: int) -> None:
    """What reset-on-return must undo: the session is closed in the middle of a transaction."""
    with Session(engine) as session:
        session.add(Customer(owner=-owner - 1, name="never"))
        session.flush()
    with Session(engine) as session:
        same("what was not committed", session.scalar(select(func.count()).where(Customer.owner == -owner - 1)), 0)


def raw_cursor(engine, owner: int) -> None:
    """The driver's own prepared statements (mysql-connector has them), user variables, SHOW WARNINGS."""
    connection = engine.raw_connection()
    try:
        prepared = engine.driver == "mysqlconnector"
        cursor = connection.driver_connection.cursor(cursor_class=MySQLCursorPrepared) if prepared else connection.cursor()
        for number in (1, 2):
            cursor.execute("SELECT %s + 1, CONCAT(%s, 'x')", (number, "é"))
            same("a statement", list(cursor.fetchall()), [(number + 1, "éx")])
        cursor.close()
        cursor = connection.cursor()
        cursor.execute("SET @owner := %s", (owner,))
        cursor.execute("SELECT @owner")
        same("the user variable", list(cursor.fetchall()), [(owner,)])
        cursor.execute("SELECT 1 / 0 FROM orm_product LIMIT 1")  # in a transaction: the warning stays however slow this machine is
        cursor.fetchall()
        cursor.execute("SHOW WARNINGS")
        same("the warning", [row[1] for row in cursor.fetchall()], [1365])
        cursor.close()
    finally:
        connection.close()


def migration_lock(engine, owner: int) -> None:
    """A lock by name, as migration tools take it."""
    name = f"migration-{owner % 4}-{engine.driver}"
    with engine.connect() as connection:
        if connection.scalar(select(func.get_lock(name, 20))) == 1:
            same("released", connection.scalar(select(func.release_lock(name))), 1)


def temporary_table(engine, owner: int) -> None:
    """A report's temporary table, dropped at its end."""
    with engine.connect() as connection:
        connection.execute(text("CREATE TEMPORARY TABLE orm_report AS SELECT id, price FROM orm_product WHERE price < 50"))
        same("the report", connection.scalar(text("SELECT COUNT(*) FROM orm_report")), 50)
        connection.execute(text("DROP TEMPORARY TABLE orm_report"))
        connection.commit()


ORDINARY = [basket, locked, savepoint, bulk, loading, reflection, isolation, plain, rolled_back, raw_cursor]
PINNING = [migration_lock, temporary_table]


def any_unit():
    return random.choice(PINNING if random.random() < PINNING_SHARE else ORDINARY)
