"""Numbers of things in sentences."""


def count(number: int, one: str, many: str = "") -> str:
    """A number with its noun: "1 row", "3,000 rows", "2 classes".

    Args:
      number: how many.
      one: the noun in the singular.
      many: the noun in the plural, unless it ends with "s" and is the same otherwise.
    """
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
