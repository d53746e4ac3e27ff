--- Loaded by busted before the first spec file (.busted names it): assertions and cleaning up.

local busted = require("busted")
local owned = require("support.owned")

require("support.assertions")

local function on(event, action)
  busted.subscribe(event, function()
    action()
    return nil, true
  end)
end

on({ "test", "start" }, owned.begin_test)
on({ "test", "end" }, owned.end_test)
on({ "file", "end" }, owned.end_file)
