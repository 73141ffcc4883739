"""Agents for Skep in Python: a class with a method for each kind of message.

Underneath it calls the imports of the WIT world `skep:agent/agent` (the package `wit_world.imports`, which stays there
for whoever needs more) and hides numbers, batches, `turn.begin` and ids. Bodies are JSON; an empty body is `None`.
It never keeps anything between turns but what can be lost: what must last goes into `self.state`.
"""

import json
import traceback

from componentize_py_types import Err
from wit_world.exports import guest as wit_guest
from wit_world.imports import (
    clock, config, health, log, message as wit_message, messaging, names, random, registry, state, supervision,
    timers, turn, types,
)

VERSION = "python 0.1.0"

LATER = object()
"""Returned by a handler that answers an ask later, by `self.reply(id, body)`."""

_ASKS = "skep:ask:"
# What a session says when it waits no more for an answer: an agent that has nothing to break off need not hear it.
_SESSION_CLOSED = "session.closed"
_SCAN_BYTES_MAX = 256 * 1024
_ERROR_CHARS_MAX = 1000
_FRAMES_MAX = 6


# Errors. One that leaves a handler refuses the message and tells the asker; the turn goes on. Any other exception fails
# the turn: nothing of it happens, the message comes again, and after some attempts it is a dead letter.

class Error(Exception):
    """What refuses the message when it leaves a handler."""

    def refusal(self):
        return types.Refusal_Failed(str(self))


class Invalid(Error):
    """The body is not what the agent expects: fix it before sending again."""

    def refusal(self):
        return types.Refusal_Invalid(str(self))


class UnknownKind(Error):
    """The agent does not know this kind of message."""

    def refusal(self):
        return types.Refusal_UnknownKind(str(self))


class Denied(Error):
    """The asker may not have this."""

    def refusal(self):
        return types.Refusal_Denied(str(self))


class Unavailable(Error):
    """Not now: the asker may try again later."""

    def refusal(self):
        return types.Refusal_Unavailable(str(self))


class SendFailed(Unavailable):
    """A message was not taken. `reason`: full, absent, denied, too-large, invalid or limit."""

    def __init__(self, error, to):
        self.reason = _word(error)
        super().__init__(f"not sent to {to}: {_words(error)}")


class AskFailed(Unavailable):
    """An ask or a call ended without a reply. `reason`: not-sent, refused, timeout, down, dead-letter or cycle."""

    def __init__(self, error):
        self.reason = _word(error)
        super().__init__(_words(error))


class StateFailed(Error):
    """A value was not stored. `reason`: too-large or quota."""

    def __init__(self, error):
        self.reason = _word(error)
        super().__init__(_words(error))


class Unusable(Exception):
    """Raised by `start` or `migrate`: the configuration or the stored state cannot be used until somebody acts."""


# What a method is for.

def handles(kind, shape=object):
    """The method handles messages of this kind: it gets the body, and what it returns answers an ask.

    A body that is not of the type `shape` (dict, list, str, ...) is refused, and so is a missing key of its objects.
    """
    return _mark("message", kind, shape)


def timer(name):
    """The method is called when the timer of this name is due: it gets the body that the timer was set with."""
    return _mark("timer", name)


def down(method):
    """The method is called with a name and a reason when an agent that is monitored, linked or owned has ended."""
    return _mark("down", "")(method)


def _mark(what, name, shape=object):
    def mark(method):
        method.skep_handles = (what, name)
        method.skep_shape = shape
        return method
    return mark


class Agent:
    """What authors derive from. `start`, `migrate` and `stop` may be defined too; they are turns of their own."""

    def __init__(self, settings):
        self.config = settings
        self.state = State()
        self.log = Log()
        self.message = None
        """The message that is being handled: a `Message`, or None outside of handlers."""

    def start(self, why):
        """Before the first message. `why`: fresh, restarted, woken (may not send) or upgraded."""

    def migrate(self, from_digest):
        """After a swap, before `start`: brings the stored state to this version's shape. May not send."""

    def stop(self, reason):
        """The agent is about to end. It may not be called."""

    @property
    def name(self):
        """The agent's own name."""
        return names.self_name()

    def send(self, to, kind, body=None):
        """Sends with the commit of this turn. Returns the message's id."""
        return _id_text(_sending(to, messaging.send, _number(to), _number(kind), _encoded(body)))

    def ask(self, to, kind, body=None, *, then, note=None, timeout_s=0.0):
        """Sends, and promises exactly one later call of the method `then` with an `Answer`, which carries `note`.

        Both are kept in the state, so the answer finds its way after a restart too. 0 is the default time-out, 5 s.
        """
        then = then if isinstance(then, str) else then.__name__
        if not callable(getattr(self, then, None)):
            raise TypeError(f"ask: there is no method {then}")
        number = _sending(to, messaging.ask, _number(to), _number(kind), _encoded(body), _milliseconds(timeout_s))
        _putting(_ASKS + _id_text(number), {"then": then, "note": note})
        return _id_text(number)

    def call(self, to, kind, body=None, *, timeout_s=0.0):
        """Sends at once, waits inside this turn and returns the reply's body. 0 is the default time-out, 5 s."""
        try:
            return _decoded(messaging.call(_number(to), _number(kind), _encoded(body), _milliseconds(timeout_s)))
        except Err as error:
            raise AskFailed(error.value) from None

    def reply(self, ask, body=None):
        """Answers an ask (`self.message.id` of that time) whose handler returned `LATER`."""
        _sending("the asker", messaging.reply, _id_number(ask), _encoded(body))

    def publish(self, topic, kind, body=None):
        """Publishes on a topic (words joined by dots). Returns how many agents were subscribed."""
        return _sending(topic, messaging.publish, topic, _number(kind), _encoded(body))

    def subscribe(self, pattern):
        """`*` stands for one word, `>` at the end for one or more. What comes is handled by its kind."""
        _sending(pattern, messaging.subscribe, pattern)

    def unsubscribe(self, pattern):
        """Ends a subscription; none is no error."""
        messaging.unsubscribe(pattern)

    def after(self, seconds, name, body=None):
        """Sets the timer `name` to fire once; setting it again replaces it."""
        _sending(name, timers.once, name, _milliseconds(seconds), _encoded(body))

    def every(self, seconds, name, body=None):
        """Sets the timer `name` to fire again and again; ticks that were missed come as one."""
        _sending(name, timers.every, name, max(1, _milliseconds(seconds)), _encoded(body))

    def cancel(self, name):
        """Removes a timer; none is no error."""
        timers.cancel(name)

    def register(self, *capabilities, protocols=(), metadata=None):
        """Says what this agent can do; replaces what it said before."""
        _sending("the registry", registry.register, list(capabilities), list(protocols), list((metadata or {}).items()))

    def find(self, capability, after=None, limit=100):
        """The names of agents that have the capability, after the name `after`."""
        return [names.name_of(number) for number in registry.find(capability, after, limit)]

    def monitor(self, agent):
        """Asks for one call of the method marked `@down` when that agent ends."""
        _sending(agent, supervision.monitor, _number(agent))

    def spawn(self, name, plugin="", settings=None, *, restart="temporary", durability="none", owned=True):
        """Starts a child (`plugin` empty: this agent's own) under this agent's supervisor."""
        child = supervision.Child(
            name, plugin, json.dumps(settings or {}), supervision.Restart[restart.upper()],
            supervision.Durability[durability.upper()], owned)
        _sending(name, supervision.spawn, child)

    def exit(self, error=None):
        """Ends this agent after the commit of this turn: it is done, or something is wrong."""
        supervision.exit(types.ExitReason_Error(error) if error else types.ExitReason_Normal())

    def healthy(self):
        """Nothing to report."""
        health.report(health.Status_Ok())

    def degraded(self, reason):
        """It works, but less well."""
        health.report(health.Status_Degraded(reason))

    def failing(self, reason):
        """It does not do what it is for."""
        health.report(health.Status_Failing(reason))

    def now_ns(self):
        """When the host took this message: nanoseconds since 1970, the same when the turn is repeated."""
        return clock.now()

    def random(self):
        """64 bits drawn from the message: the same when the turn is repeated. Not for secrets."""
        return random.next()


class Message:
    """The message that is being handled."""

    def __init__(self, index, wire, kind):
        self._index = index
        self.id = _id_text(wire.id)
        """32 hex digits, the same at every redelivery."""
        self.kind = kind
        self.sender = names.name_of(wire.sender) if wire.sender else None
        """A name, or None for the outside."""
        self.channel = wire.channel.name.lower()
        self.attempt = wire.attempt
        """1 at the first delivery."""
        self.is_ask = types.MessageFlags.ASK in wire.flags

    @property
    def meta(self):
        """Everything rare: topic, headers, deadline, time, trace context."""
        return wit_message.get_meta(self._index)


class Object(dict):
    """A JSON object of a body: a key that is not there is the sender's mistake, so it refuses the message."""

    def __missing__(self, key):
        raise Invalid(f"the body has no {key}")


class Answer:
    """The end of an ask."""

    def __init__(self, ask, sender, note, raw, error):
        self.ask = ask
        """The id that `ask` returned."""
        self.sender = sender
        self.note = note
        self.error = error
        """None, or the `AskFailed` that says why there is no reply."""
        self._raw = raw

    @property
    def body(self):
        """The reply's body; raises `error` if there is none."""
        if self.error:
            raise self.error
        return _decoded(self._raw)


class State:
    """The agent's own durable keys and JSON values. Writes become visible with the commit of the turn."""

    def __getitem__(self, key):
        value = state.get(_own_key(key))
        if value is None:
            raise KeyError(key)
        return json.loads(value)

    def __setitem__(self, key, value):
        _putting(_own_key(key), value)

    def __delitem__(self, key):
        state.delete(_own_key(key))

    def __contains__(self, key):
        return state.get(_own_key(key)) is not None

    def get(self, key, default=None):
        """The value, or `default`."""
        value = state.get(_own_key(key))
        return default if value is None else json.loads(value)

    def items(self, prefix=""):
        """Keys that start with `prefix` and their values, in the order of the keys, read a part at a time."""
        cursor = None
        while True:
            page = state.scan(prefix, cursor, _SCAN_BYTES_MAX)
            for entry in page.entries:
                if not entry.key.startswith("skep:"):
                    yield entry.key, json.loads(entry.value)
            cursor = page.next
            if cursor is None:
                return


class Log:
    """Lines for people, with fields; they are kept even if the turn is undone. `print` works too."""

    def debug(self, text, **fields):
        _log(log.Level.DEBUG, text, fields)

    def info(self, text, **fields):
        _log(log.Level.INFO, text, fields)

    def warn(self, text, **fields):
        _log(log.Level.WARN, text, fields)

    def error(self, text, **fields):
        _log(log.Level.ERROR, text, fields)


# What the host sees.

def guest(agent_class):
    """The last line of an agent's file: `Guest = skep.guest(MyAgent)`. A kind that is handled twice is an error."""
    handlers = _handlers_of(agent_class)
    return type("Guest", (_Guest,), {"agent_class": agent_class, "handlers": handlers})


def _handlers_of(agent_class):
    handlers = {}
    for name in dir(agent_class):
        marked = getattr(getattr(agent_class, name), "skep_handles", None)
        if marked in handlers:
            raise TypeError(f"{marked[0]} {marked[1]} is handled by both {handlers[marked]} and {name}")
        if marked:
            handlers[marked] = name
    return handlers


class _Guest:
    """componentize-py makes a new object of this for each call, so what lasts belongs to the class."""

    agent_class = None
    handlers = {}
    agent = None

    def describe(self):
        return wit_guest.Traits(batch_max=0, sdk=VERSION)

    def start(self, settings, why):
        with _Turn():
            type(self).agent = self.agent_class(json.loads(settings))
            self.agent.start(_word(why))

    def migrate(self, from_digest):
        with _Turn():
            self.agent_class(json.loads(config.all())).migrate(from_digest)

    def stop(self, reason):
        with _Turn():
            self.agent.stop(_words(reason))

    def handle(self, told, messages):
        with _Turn():
            for number, name in told:
                _NAMES[number] = name
            for index, wire in enumerate(messages):
                turn.begin(index)
                self._one(index, wire)
        return len(messages)

    def _one(self, index, wire):
        kind = _NAMES.get(wire.kind) or names.name_of(wire.kind)
        self.agent.message = Message(index, wire, kind)
        try:
            self._dispatch(index, wire, kind)
        except Error as error:
            turn.refuse(index, error.refusal())
        finally:
            self.agent.message = None

    def _dispatch(self, index, wire, kind):
        if types.MessageFlags.ANSWER in wire.flags:
            self._answer(index, wire)
        elif types.MessageFlags.DOWN in wire.flags:
            self._method("down", "")(self.agent.message.sender, wire.body.decode())
        elif types.MessageFlags.TIMER in wire.flags:
            self._method("timer", kind)(_decoded(wire.body))
        else:
            if kind == _SESSION_CLOSED and ("message", kind) not in self.handlers:
                return
            method = self._method("message", kind)
            answer = method(_shaped(_decoded(wire.body), method.skep_shape))
            if self.agent.message.is_ask and answer is not LATER:
                self.agent.reply(self.agent.message.id, answer)

    def _method(self, what, name):
        method = self.handlers.get((what, name))
        if method is None:
            raise UnknownKind(f"this agent has no method for the {what} {name}".rstrip())
        return getattr(self.agent, method)

    def _answer(self, index, wire):
        ask = _id_text(wit_message.in_reply_to(index))
        kept = state.get(_ASKS + ask)
        if kept is None:
            # The state was lost (durability none) or an older plugin asked: nobody is there to be told.
            log.write(log.Level.WARN, "an answer whose ask is not known was left out", [("ask", ask)])
            return
        state.delete(_ASKS + ask)
        kept = json.loads(kept)
        error = AskFailed(wit_message.failure(index)) if types.MessageFlags.FAILED in wire.flags else None
        answer = Answer(ask, self.agent.message.sender, kept["note"], wire.body, error)
        getattr(self.agent, kept["then"])(answer)


class _Turn:
    """Turns what leaves the agent into the turn's error; the host drops the instance then."""

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if error is None:
            return
        if isinstance(error, Unusable):
            raise Err(types.TurnError_Unusable(str(error)))
        raise Err(types.TurnError_Failed(_told(kind, error, trace))) from None


def _told(kind, error, trace):
    """An exception in one line: what, and the innermost frames, first where it was raised."""
    frames = reversed(traceback.extract_tb(trace)[-_FRAMES_MAX:])
    places = " < ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames)
    return f"{kind.__name__}: {error}"[:_ERROR_CHARS_MAX] + f" ({places})"


# Small change. Numbers live as long as the instance; the host allows 65,536 of them.

_NAMES = {}
_NUMBERS = {}
_JSON = {type(None): "empty", Object: "an object", dict: "an object", list: "an array", str: "a string", bool: "a boolean",
         int: "a number", float: "a number"}


def _number(name):
    number = _NUMBERS.get(name)
    if number is None:
        number = _NUMBERS[name] = names.number_of(name)
    return number


def _encoded(body):
    return b"" if body is None else json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def _decoded(body):
    try:
        return json.loads(body, object_hook=Object) if body else None
    except ValueError as error:
        raise Invalid(f"the body is not JSON: {error}") from None


def _shaped(body, shape):
    if not isinstance(body, shape):
        raise Invalid(f"the body is {_JSON.get(type(body))}, not {_JSON.get(shape, shape.__name__)}")
    return body


def _sending(to, function, *arguments):
    try:
        return function(*arguments)
    except Err as error:
        raise SendFailed(error.value, to) from None


def _putting(key, value):
    try:
        state.put(key, _encoded(value) or b"null")
    except Err as error:
        raise StateFailed(error.value) from None


def _own_key(key):
    if key.startswith("skep:"):
        raise ValueError(f"keys that start with skep: belong to the library: {key}")
    return key


def _log(level, text, fields):
    log.write(level, text, [(name, str(value)) for name, value in fields.items()])


def _milliseconds(seconds):
    return int(seconds * 1000 + 0.5)


def _id_text(halves):
    return f"{halves[0]:016x}{halves[1]:016x}"


def _id_number(text):
    return int(text[:16], 16), int(text[16:], 16)


def _word(case):
    """The WIT name of a variant's case: `SendError_TooLarge` is too-large."""
    name = type(case).__name__.rpartition("_")[2]
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("-")


def _words(case):
    value = getattr(case, "value", None)
    if value is None:
        return _word(case)
    return f"{_word(case)}: {value if isinstance(value, (str, int)) else _words(value)}"
