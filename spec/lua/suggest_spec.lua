-- "Did you mean": the distance of two names, and which candidate is near enough.

local suggest = require "tidegate.suggest"

describe("the distance of two names", function()
  for _, case in ipairs { { "", "abc", 3 }, { "abc", "abc", 0 }, { "abc", "acb", 1 }, { "abc", "abcd", 1 },
                          { "kitten", "sitting", 3 }, { "ca", "abc", 3 } } do
    it(("%s and %s: %d"):format(unpack(case)), function()
      assert.equal(case[3], suggest.distance(case[1], case[2]))
      assert.equal(case[3], suggest.distance(case[2], case[1]))
    end)
  end
end)

describe("the nearest name", function()
  local names = { "attempts", "methods", "budget", "on", "idle_timeout", "header" }

  it("forgives an edit in three bytes", function()
    assert.equal("attempts", suggest.nearest("atempts", names))
    assert.equal("methods", suggest.nearest("metohds", names))
  end)

  it("forgives one edit in a short name", function()
    assert.equal("on", suggest.nearest("o", names))
  end)

  it("ignores case, hyphens and underscores", function()
    assert.equal("idle_timeout", suggest.nearest("IdleTimeout", names))
  end)

  it("takes a prefix where no edit helps", function()
    assert.equal("header", suggest.nearest("header_names_to_add", names))
    assert.equal("attempts", suggest.nearest("att", names))
  end)

  it("settles equals by the alphabet", function()
    assert.equal("bat", suggest.nearest("at", { "cat", "bat" }))
  end)

  it("says nothing where nothing is near", function()
    assert.is_nil(suggest.nearest("zzz", names))
    assert.is_nil(suggest.nearest("", names))
    assert.is_nil(suggest.nearest(("x"):rep(1000), names))
  end)
end)
