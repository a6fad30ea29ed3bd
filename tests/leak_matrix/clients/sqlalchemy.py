"""sqlalchemy: literals and parameters of statements, failing statements, a password in the URL."""

from __future__ import annotations

import sqlite3

import sqlalchemy
from sqlalchemy import text

from tests.leak_matrix.canary import Planted
from tests.leak_matrix.harness import case, failing

TABLE = "CREATE TABLE customers (name TEXT, mail TEXT)"


@case("literal")
def statements(c: Planted) -> None:
    with sqlalchemy.create_engine("sqlite://").connect() as connection:
        connection.execute(text(TABLE))
        connection.exec_driver_sql(f"INSERT INTO customers VALUES ('{c('literal')}', '{c.email('mail')}')")
        connection.execute(text("SELECT * FROM customers WHERE name = :name"), {"name": c("parameter")})
        connection.execute(text(f"SELECT '{c('column')}' AS {c.word('alias')} FROM customers"))
        connection.execute(text(f"/* {c('comment')} */ DELETE FROM customers WHERE name = '{c('literal')}'"))


@case()
def failing_statements(c: Planted) -> None:
    with sqlalchemy.create_engine("sqlite://").connect() as connection:
        with failing():
            connection.execute(text(f"SELECT '{c('literal')}' FROM {c.word('table')}"))
        with failing():
            connection.exec_driver_sql(f"{c('nonsense')}")


@case()
def unreachable(c: Planted) -> None:
    def connect() -> sqlite3.Connection:
        raise sqlite3.OperationalError(f"cannot reach postgresql://app:{c.key('password')}@db/{c.word('db')}")

    with failing():
        sqlalchemy.create_engine("sqlite://", creator=connect).connect()


@case()
def in_a_database_named_after_a_customer(c: Planted) -> None:
    with sqlalchemy.create_engine(
        f"sqlite:///file:{c.word('name')}?mode=memory&uri=true"
    ).connect() as connection:
        connection.execute(text("SELECT 1"))
