"""Shops that are hard to rank alike: orders as files that `quintile import` reads."""

import random

HEADER = "order_id,customer_id,email,ordered_at,total,refunded,status,first_name,last_name"


def order(number, customer, at, total, refunded="", status="paid", name="Anna"):
    return f"{number},c{customer},c{customer}@example.com,{at},{total},{refunded},{status},{name},\"O'Hara\t\\\""


def day(number):
    """Few different ones: ties of recency."""
    return f"2026-{1 + number % 10:02}-{1 + number % 28:02}T{number % 3:02}:00:00Z"


def eventful():
    """Two thousand customers, most with one order, few different prices; refunds, cancellations and
    customers without any order that counts."""
    dice = random.Random(20261123)
    rows, number = [HEADER], 0
    for customer in range(2003):
        orders = 1 if dice.random() < 0.6 else dice.randint(2, 9)
        for _ in range(orders):
            number += 1
            total = dice.choice(["9.90", "19.90", "19.90", "49.90", f"{dice.randint(1, 400)}.00"])
            fate = dice.random()
            refunded, status = "", "paid"
            if fate < 0.05:
                refunded = total
            elif fate < 0.10:
                refunded = "5.00"
            elif fate < 0.15:
                status = dice.choice(["cancelled", "pending", "voided"])
            rows.append(order(number, customer, day(dice.randint(0, 500)), total, refunded, status))
    for customer in range(2003, 2040):
        number += 1
        rows.append(order(number, customer, day(customer), "10.00", "", "pending"))
    return rows


def borders():
    """Eleven customers, equal in every value across the borders of the fifths."""
    values = [1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3]
    return [HEADER] + [order(n + 1, n, day(value), f"{value}.00") for n, value in enumerate(values)]


def alike():
    """Seven customers of whom nobody differs."""
    return [HEADER] + [order(n + 1, n, day(1), "5.00") for n in range(7)]


def single():
    return [HEADER, order(1, 1, day(1), "5.00")]


SHOPS = {"eventful": eventful, "borders": borders, "alike": alike, "single": single}
