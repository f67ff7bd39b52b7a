"""The trail of attempts: a filter on every attempt of the edge's router that remembers how the ones before it ended.

The attempt stage knows only its own attempt. What it writes into ``x-kortex-outcome`` is collected here, in the
request's dynamic metadata, for the attempts that follow, in ``x-kortex-trail`` (``extproc.exchange.trail``), and for
the replies that Envoy makes by itself (``local_replies``), as JSON: when time runs out, from the metadata; where a
provider's listener made one that the attempt stage has not seen, this filter writes it in.

The first attempt is most requests' only one, and costs the script next to nothing: arrival notes it beside its plan
(``extproc.server.messages``), in the metadata's shape.

Lua, because no other upstream filter can both write metadata and set headers; one script in the router and not one in
each cluster, because every copy costs a Lua machine per thread.
https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/http/http_filters/lua_filter
"""

from __future__ import annotations

from typing import Final

from envoy_data_plane.envoy.config.core.v3 import DataSource
from envoy_data_plane.envoy.extensions.filters.http.lua.v3 import Lua
from envoy_data_plane.envoy.extensions.filters.http.upstream_codec.v3 import UpstreamCodec
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import HttpFilter

from extproc.bootstrap.processor import ATTEMPTS_NAMESPACE
from extproc.bootstrap.typed_config import packed
from extproc.exchange.trail import CLOCKS_DIFFER_MS
from extproc.exchange.verdict import Reason
from extproc.headers import ASSIGNMENT, ATTEMPTS, BROKEN_OFF, ENVOY_ATTEMPT_COUNT, LOCAL_REPLY, OUTCOME, TRAIL

METADATA: Final = ATTEMPTS_NAMESPACE
TRIED: Final = "tried"
"""The attempts, each a ``backend``, ``outcome``, ``status`` and ``milliseconds``; the last one may still be open."""

_TIMEOUT: Final = Reason.TIMEOUT.value
_RESET: Final = Reason.RESET.value

# `tried` holds one table per attempt; the one that is under way has no `milliseconds` yet. `open` is when it began, in
# milliseconds; the first one began when the request arrived. An attempt that is still under way when Envoy gives up has
# run out of time. `unseen`: the attempt stage, whose stream ended without a word, does not know of the last one's end.
_SCRIPT: Final = f"""\
local METADATA = "{METADATA}"

local function planned(headers)
  local plan = string.match(headers:get("{ASSIGNMENT}") or "", '"plan":%[(.-)%]') or ""
  local attempt = tonumber(headers:get("{ENVOY_ATTEMPT_COUNT}")) or 1
  for backend in string.gmatch(plan, '"([^"]*)"') do
    attempt = attempt - 1
    if attempt == 0 then return backend end
  end
  return "unknown"
end

-- An attempt without a reply has used up its time, give or take two clocks, or has lost its connection.
local function close(attempt, milliseconds, headers)
  local limit = tonumber(string.match(headers:get("{ASSIGNMENT}") or "", '"try_ms":(%d+)')) or 0
  attempt["milliseconds"] = milliseconds
  if milliseconds + {CLOCKS_DIFFER_MS} < limit then attempt["outcome"] = "{_RESET}" end
end

local function arrived(headers)
  return tonumber(string.match(headers:get("{ASSIGNMENT}") or "", '"arrived_ms":(%d+)')) or 0
end

local function remember(metadata, tried, open, unseen)
  metadata:set(METADATA, "state", {{ {TRIED} = tried, open = open, unseen = unseen }})
end

local function trail(tried, count)
  local entries = {{}}
  for index = 1, count do
    local attempt = tried[index]
    entries[index] = string.format("%s=%s;%s;%d", attempt["backend"], attempt["outcome"],
      attempt["status"] and string.format("%d", attempt["status"]) or "", attempt["milliseconds"])
  end
  return table.concat(entries, ", ")
end

-- A reply that the attempt stage has not seen: with what that would have added. Names hold nothing to be escaped.
local function complete(handle, tried)
  local body, headers = handle:body(), handle:headers()
  local entries, names = {{}}, {{}}
  for index, attempt in ipairs(tried) do
    names[index] = attempt["backend"] .. ": " .. attempt["outcome"]
    entries[index] = string.format('{{"backend":"%s","outcome":"%s","status":%s,"milliseconds":%d}}',
      attempt["backend"], attempt["outcome"],
      attempt["status"] and string.format("%d", attempt["status"]) or "null", attempt["milliseconds"])
  end
  headers:replace("{ATTEMPTS}", tostring(#tried))
  headers:remove("{ENVOY_ATTEMPT_COUNT}")
  if #tried > 1 then headers:replace("{TRAIL}", trail(tried, #tried - 1)) end
  if not body then return end
  local text = body:getBytes(0, body:length())
  text = string.gsub(text, '^{{"error":{{', '{{"error":{{"attempts":[' .. table.concat(entries, ",") .. "],", 1)
  if #tried > 1 then
    local all = " (No backend answered; tried " .. table.concat(names, ", ") .. ".)"
    text = string.gsub(text, '"message":"[^"]*', "%0" .. all, 1)
  end
  headers:replace("content-length", body:setBytes(text))
end

function envoy_on_request(handle)
  local headers = handle:headers()
  if headers:get("{ENVOY_ATTEMPT_COUNT}") == "1" then return end
  local metadata, now = handle:streamInfo():dynamicMetadata(), tonumber(handle:timestamp())
  local state = metadata:get(METADATA)["state"]
  local tried = state["{TRIED}"]
  local last = tried[#tried]
  local unseen = state["unseen"]
  if not last["milliseconds"] then
    close(last, now - (state["open"] or arrived(headers)), headers)
    unseen = true
  end
  headers:remove("{BROKEN_OFF}")
  if unseen and last["outcome"] == "{_RESET}" then headers:replace("{BROKEN_OFF}", last["backend"]) end
  headers:replace("{TRAIL}", trail(tried, #tried))
  tried[#tried + 1] = {{ backend = planned(headers), outcome = "{_TIMEOUT}" }}
  remember(metadata, tried, now, false)
end

function envoy_on_response(handle)
  local ended = handle:headers():get("{OUTCOME}")
  if ended then
    local metadata = handle:streamInfo():dynamicMetadata()
    local tried = metadata:get(METADATA)["state"]["{TRIED}"]
    local backend, outcome, status, milliseconds = string.match(ended, "^([^=]*)=([^;]*);(%d*);(%d+)$")
    tried[#tried] = {{
      backend = backend, outcome = outcome, status = tonumber(status), milliseconds = tonumber(milliseconds)
    }}
    local unseen = handle:headers():get("{LOCAL_REPLY}") ~= nil
    remember(metadata, tried, nil, unseen)
    if unseen then complete(handle, tried) end
  end
end
"""


def attempt_filters() -> list[HttpFilter]:
    """The filters between the edge's router and each attempt's cluster."""
    script = Lua(default_source_code=DataSource(inline_string=_SCRIPT))
    return [
        HttpFilter(name="envoy.filters.http.lua", typed_config=packed(script)),
        HttpFilter(name="envoy.filters.http.upstream_codec", typed_config=packed(UpstreamCodec())),
    ]
