--- What specs open and must not leave behind: connections, listeners, processes.
--
-- Helpers register what they hand out with the function that gets rid of it, and forget it when the
-- spec did that itself. support.helper closes the rest: after each spec what was opened during that
-- spec (before_each included), after each file what its setup opened. So a failing spec, which stops
-- in the middle, leaves nothing to the next one.

local owned = {}

local items = {} -- object -> { close = function, in_test = boolean }
local in_test = false

--- Registers `object`; `close(object)` is called at the end of the spec or file.
function owned.add(object, close)
  items[object] = { close = close, in_test = in_test }
  return object
end

--- Forgets `object`: its owner got rid of it.
function owned.remove(object)
  items[object] = nil
end

local function release(everything)
  for object, item in pairs(items) do
    if everything or item.in_test then
      items[object] = nil
      item.close(object)
    end
  end
end

--- From here on, what is opened belongs to a spec.
function owned.begin_test()
  in_test = true
end

--- Closes what the spec left open.
function owned.end_test()
  in_test = false
  release(false)
end

--- Closes what is still open.
function owned.end_file()
  release(true)
end

return owned
