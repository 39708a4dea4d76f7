"""Published names for raw ones: plain in every dialect, no reserved word, never twice."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

__all__ = ["plain_name", "words"]

_CHINESE = {
    "编号": "no", "代码": "code", "名称": "name", "姓名": "person_name", "站点": "station", "时间": "time",
    "日期": "date", "年份": "year", "月份": "month", "数量": "qty", "单位": "unit", "金额": "amount",
    "价格": "price", "地址": "address", "电话": "phone", "手机": "mobile", "性别": "sex", "年龄": "age",
    "出生日期": "birth_date", "身份证号": "id_no", "身份证": "id_no", "企业": "company", "公司": "company",
    "区": "district", "状态": "status", "类型": "kind", "备注": "remark", "面积": "area",
}  # fmt: skip
_RESERVED = set(
    """
    all alter and as between by case cast constraint create cross cube deallocate delete describe distinct
    drop else end escape except execute exists extract false for from full group grouping having in inner
    insert intersect into is join left like listagg natural normalize not null on or order outer prepare
    recursive right rollup select skip table then trim true uescape union unnest user using values when
    where with
    """.split()  # noqa: SIM905 - a list of words reads better as words
)


def words(raw: str) -> str:
    """`CustomerName`, `CUSTOMER-NAME`, `customer name` -> `customer_name`."""
    text = unicodedata.normalize("NFKD", raw.replace("ß", "ss"))
    text = "".join(c for c in text if not unicodedata.combining(c))
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", text)
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def plain_name(raw: str, taken: Iterable[str] = (), fallback: str = "column") -> str:
    """A published name for a raw one: plain in every dialect, no reserved word, not in `taken`."""
    name = _CHINESE.get(raw.strip()) or words(raw)
    if not name:
        name = fallback
    if name[0].isdigit():
        name = f"{fallback[0]}_{name}"
    if name in _RESERVED:
        name = f"{name}_"
    name = name[:60]
    used, number, base = set(taken), 2, name
    while name in used:
        name, number = f"{base}_{number}", number + 1
    return name
