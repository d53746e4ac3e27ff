-- Where in a config file a field was written.
--
-- Purpose    Lua tells a called function its caller's line, but not where inside the table constructor a
--            field stands. This file lexes the script and finds the constructor of a call and, inside it, the
--            key that a path names: `services.orders.retry.atempts` becomes line 41, column 15.
-- Invariants The script has been compiled already, so the text is well formed Lua; the lexer only has to tell
--            tokens apart, not to refuse. What it cannot follow (a computed table, a computed key) is
--            answered by the nearest thing it can: the enclosing key, the call, the line. It never guesses a
--            position.
-- Ownership  A source owns its text and its tokens. Tokens are integers into parallel arrays, because a
--            config of 100,000 routes has a million of them; they are made on the first question, so a config
--            without mistakes is never lexed here.
-- Cost       One pass over the text on first use; a search on one line, then one walk over the constructor.

local source = {}
source.__index = source

--- A source over the text of one file.
function source.new(text)
  return setmetatable({ text = text }, source)
end

-- Opens blocks that end with `end` or `until`; a comma inside one does not separate table fields.
local OPENS = { ["function"] = true, ["do"] = true, ["if"] = true, ["repeat"] = true,
                ["("] = true, ["{"] = true, ["["] = true }
local CLOSES = { ["end"] = true, ["until"] = true, [")"] = true, ["}"] = true, ["]"] = true }

-- End of the long bracket that opens at `at` ("[==["), or nil when none opens there.
local function long_bracket_end(text, at)
  local level = text:match("^%[(=*)%[", at)
  if not level then return nil end
  local _, stop = text:find("]" .. level .. "]", at, true)
  return stop or #text
end

-- End of the quoted string that opens at `at`.
local function quoted_end(text, at)
  local quote = text:sub(at, at)
  local from = at + 1
  while true do
    local stop = text:find("[\\" .. quote .. "]", from)
    if not stop then return #text end
    if text:sub(stop, stop) == quote then return stop end
    from = stop + 2
  end
end

-- Kind and end of the token at `at`; kind nil means blank or comment.
local function scan(text, at)
  local byte = text:sub(at, at)
  if byte:find "[%a_]" then return "name", select(2, text:find("^[%w_]+", at)) end
  if byte == '"' or byte == "'" then return "string", quoted_end(text, at) end
  if byte:find "%d" then return "number", select(2, text:find("^[%w%.]+", at)) end
  if byte:find "%s" then return nil, select(2, text:find("^%s+", at)) end
  if text:find("^%-%-", at) then
    return nil, long_bracket_end(text, at + 2) or (text:find("\n", at, true) or #text)
  end
  local long = byte == "[" and long_bracket_end(text, at)
  if long then return "string", long end
  local two = text:find("^[=~<>]=", at)
  return "sign", two and at + 1 or at
end

local function index_lines(text)
  local starts, at = { 1 }, 1
  while true do
    at = text:find("\n", at, true)
    if not at then return starts end
    at = at + 1
    starts[#starts + 1] = at
  end
end

function source:tokens()
  if self.kind then return end
  local text = self.text
  local kind, first, last = {}, {}, {}
  -- A first line "#!…" is not Lua; the loader skips it too.
  local at = text:sub(1, 1) == "#" and (text:find("\n", 1, true) or #text + 1) or 1
  while at <= #text do
    local token, stop = scan(text, at)
    if token then
      local n = #kind + 1
      kind[n], first[n], last[n] = token, at, stop
    end
    at = stop + 1
  end
  self.kind, self.first, self.last = kind, first, last
end

function source:lines()
  self.starts = self.starts or index_lines(self.text)
  return self.starts
end

-- Index of the greatest element of the ascending `list` that is at most `value`; 0 when there is none.
local function rank(list, value)
  local low, high = 0, #list
  while low < high do
    local middle = math.floor((low + high + 1) / 2)
    if list[middle] <= value then low = middle else high = middle - 1 end
  end
  return low
end

--- Text of one line, without its newline.
function source:line_text(line)
  local starts = self:lines()
  if not starts[line] then return nil end
  local stop = starts[line + 1] and starts[line + 1] - 2 or #self.text
  return (self.text:sub(starts[line], stop):gsub("[\r\n]+$", ""))
end

--- Position of a token.
-- @treturn integer line, column (bytes, from 1) and width
function source:position(token)
  local starts = self:lines()
  local line = rank(starts, self.first[token])
  local width = self.last[token] - self.first[token] + 1
  local rest = #self:line_text(line) - (self.first[token] - starts[line])
  return line, self.first[token] - starts[line] + 1, math.max(1, math.min(width, rest))
end

function source:word(token)
  return self.first[token] and self.text:sub(self.first[token], self.last[token])
end

-- Value of a plain string token without escapes; nil for anything else.
function source:literal(token)
  if self.kind[token] ~= "string" then return nil end
  return self:word(token):match "^[\"'](.*)[\"']$" or self:word(token):match "^%[=*%[(.*)%]=*%]$"
end

-- First and last token that start on a line; last < first when none does.
function source:on_line(line)
  self:tokens()
  local starts = self:lines()
  if not starts[line] then return 1, 0 end
  local first = rank(self.first, starts[line] - 1) + 1
  return first, rank(self.first, (starts[line + 1] or #self.text + 1) - 1)
end

-- Opening token that belongs to the closing one at `token`.
function source:opening(token)
  local depth = 0
  for i = token, 1, -1 do
    local word = self.kind[i] ~= "string" and self:word(i)
    if CLOSES[word] then depth = depth + 1 end
    if OPENS[word] then depth = depth - 1 end
    if depth == 0 then return i end
  end
end

-- First token of the expression whose callee's last name is at `token`: the "tg" of "tg.use".
function source:expression_start(token)
  while self:word(token - 1) == "." and self.kind[token - 2] == "name" do token = token - 2 end
  return token
end

-- What is called by the arguments that start at `token`: its name token, the literal name that it was given
-- (`tg.route "x" {`), and the token of its options (`tg.use("x", {…}) {`).
function source:callee(token)
  local before = token - 1
  if self.kind[before] == "name" then return before end
  if self.kind[before] == "string" then return before - 1, before end
  if self:word(before) ~= ")" then return nil end
  local open = self:opening(before)
  if not open then return nil end
  local is_alone = open + 2 == before or self:word(open + 2) == ","
  local options = self:word(open + 2) == "," and self:word(open + 3) == "{" and open + 3 or nil
  return open - 1, is_alone and self.kind[open + 1] == "string" and open + 1 or nil, options
end

-- The constructor among the arguments that start at `token`.
function source:constructor(token)
  local word = self.kind[token] ~= "string" and self:word(token)
  if word == "{" then return token end
  if word == "(" and self:word(token + 1) == "{" then return token + 1 end
end

-- The calls of `func` on a line that are given a constructor, in their order.
function source:calls_on_line(line, func)
  local first, last = self:on_line(line)
  local found = {}
  for token = first, last do
    local open = self:constructor(token)
    local callee, name, options
    if open then callee, name, options = self:callee(token) end
    if callee and self:word(callee) == func then
      found[#found + 1] = { open = open, start = self:expression_start(callee), options = options,
                            name = name and self:literal(name) }
    end
  end
  return found
end

--- Finds the table constructor of a call.
-- @tparam table where line, func (the DSL function's name), name (its argument, may be nil), and nth (the
--   how-many-eth call of func on that line this one is, 1 when absent; in a loop it grows past what the text
--   holds)
-- @treturn table|nil open, start and options, all tokens
function source:call(where)
  local found = self:calls_on_line(where.line, where.func)
  if #found == 0 then return nil end
  local likely = found[((where.nth or 1) - 1) % #found + 1]
  if not likely.name or likely.name == where.name then return likely end
  for _, call in ipairs(found) do
    if call.name == where.name then return call end
  end
end

--- Finds the first use of a name on a line, as whole expression ("tg" of "tg.env").
-- @tparam[opt] string argument prefer the use that has this literal argument
-- @treturn integer|nil token
function source:name_on_line(line, name, argument)
  local first, last = self:on_line(line)
  local found
  for token = first, last do
    if self.kind[token] == "name" and self:word(token) == name then
      local given = self.kind[token + 1] == "string" and token + 1 or token + 2
      if not argument or self:literal(given) == argument then return self:expression_start(token) end
      found = found or self:expression_start(token)
    end
  end
  return found
end

--- The token that reads like `text` on a line; nil when none or more than one does.
function source:only_on_line(line, text)
  local first, last = self:on_line(line)
  local found
  for token = first, last do
    if self:word(token) == text then
      if found then return nil end
      found = token
    end
  end
  return found
end

--- Finds where a file names a field, for tables that no call of the language encloses: the last of `keys`
--  that is
-- written `key =`, `.key` or `key(` anywhere.
-- @treturn integer|nil token
function source:field_anywhere(keys)
  self:tokens()
  for i = #keys, 1, -1 do
    for token = 1, #self.kind do
      if self.kind[token] == "name" and self:word(token) == keys[i] then
        local after, before = self:word(token + 1), token > 1 and self:word(token - 1)
        if after == "=" or (before == "." and after == "(") then return token end
      end
    end
  end
end

--- Finds a field in the constructor that `name = f { … }` gives to a function, such as a plugin's schema.
-- @tparam string name
-- @tparam table keys the path; its first key must be written there
-- @treturn integer|nil token
function source:field_of(name, keys)
  self:tokens()
  for token = 1, #self.kind do
    if self:word(token) == name and self:word(token + 1) == "=" then
      local open = token + 2
      while self.kind[open] == "name" or self:word(open) == "." do open = open + 1 end
      open = self:constructor(open)
      local found = open and self:locate(open, keys)
      if found then return found end
    end
  end
end

--- The last use of a word in the file.
-- @treturn integer|nil token
function source:last_name(name)
  self:tokens()
  for token = #self.kind, 1, -1 do
    if self.kind[token] == "name" and self:word(token) == name then return token end
  end
end

-- Token after the value that starts at `token`: a separator or the closing brace.
function source:value_end(token)
  local depth = 0
  while self.kind[token] do
    local word = self.kind[token] ~= "string" and self:word(token)
    if depth == 0 and (word == "," or word == ";" or word == "}") then return token end
    if OPENS[word] then depth = depth + 1 end
    if CLOSES[word] then depth = depth - 1 end
    token = token + 1
  end
  return token
end

-- Key, its token and the token of its value for the field that starts at `token`; key nil when computed.
function source:field(token, position)
  if self.kind[token] == "name" and self:word(token + 1) == "=" then
    return self:word(token), token, token + 2
  end
  if self:word(token) ~= "[" or self.kind[token] == "string" then return position, token, token end
  local value = token + 1
  while self.kind[value] and self:word(value) ~= "]" do value = value + 1 end
  local key = value == token + 2 and (self:literal(token + 1) or tonumber(self:word(token + 1))) or nil
  return key, token, value + 2
end

-- The field `wanted` of the constructor at `open`: token of its key and, when its value is a constructor, of
-- that.
function source:find_field(open, wanted)
  local token, position = open + 1, 1
  while self.kind[token] and self:word(token) ~= "}" do
    local key, key_token, value = self:field(token, position)
    local stop = self:value_end(value)
    if key == wanted then
      local nested = self:word(value) == "{" and self.kind[value] ~= "string" and self:word(stop - 1) == "}"
      return key_token, nested and value or nil
    end
    if key_token == value then position = position + 1 end
    local separator = self:word(stop)
    token = (separator == "," or separator == ";") and stop + 1 or stop
  end
end

--- Follows a path of keys into a constructor, as far as the text shows it.
-- @tparam integer open token of the constructor
-- @tparam table keys the path
-- @treturn integer|nil token of the deepest key found
-- @treturn integer how many keys were found
function source:locate(open, keys)
  local token, depth = nil, 0
  for i, key in ipairs(keys) do
    if not open then break end
    local found, nested = self:find_field(open, key)
    if not found then break end
    token, open, depth = found, nested, i
  end
  return token, depth
end

return source
