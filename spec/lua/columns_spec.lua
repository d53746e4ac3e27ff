-- Tables for terminals.

local columns = require "tidegate.report.columns"

describe("a table", function()
  it("has columns as wide as what people see of their cells", function()
    assert.equal("NAME   N\nmünü   1\nlong  22\n",
                 columns.render({ "<NAME", "N" }, { { "münü", 1 }, { "long", 22 } }))
  end)

  it("keeps its lines whatever a cell holds", function()
    assert.equal("NAME   N\na?b?c  1\n", columns.render({ "<NAME", "N" }, { { "a\nb\27c", 1 } }))
  end)
end)
