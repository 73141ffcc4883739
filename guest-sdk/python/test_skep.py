"""The Python helper over pretended imports: the types are those that componentize-py makes of the WIT.

`make test` runs it, with PYTHONPATH naming a folder of generated bindings.
"""

import unittest

from componentize_py_types import Err
from wit_world.imports import config, log, message, messaging, names, state, turn, types

import skep


class World:
    """What the host would do: names by number, state, and a record of what was asked of it."""

    def __init__(self):
        self.done, self.kept, self.names, self.answers = [], {}, {0: None}, {}
        names.number_of = self.number
        names.name_of = self.names.get
        names.self_name = lambda: "me"
        state.get = self.kept.get
        state.put = self.kept.__setitem__
        state.delete = lambda key: self.kept.pop(key, None)
        state.scan = self.scan
        turn.begin = lambda index: self.done.append(("begin", index))
        turn.refuse = lambda index, why: self.done.append(("refuse", index, why))
        messaging.reply = lambda to, body: self.done.append(("reply", to, body))
        messaging.send = self.send
        messaging.ask = lambda to, kind, body, ms: self.done.append(("ask", to, kind, body, ms)) or (7, 8)
        message.in_reply_to = lambda index: (7, 8)
        message.failure = lambda index: types.AskError_Timeout()
        config.all = lambda: '{"peer":"other"}'
        log.write = lambda *line: self.done.append(("log", *line))
        skep._NAMES.clear()
        skep._NUMBERS.clear()

    def number(self, name):
        number = next((number for number, known in self.names.items() if known == name), len(self.names))
        self.names[number] = name
        return number

    def scan(self, prefix, cursor, _limit):
        keys = sorted(key for key in self.kept if key.startswith(prefix) and key > (cursor or ""))
        entries = [state.Entry(key, self.kept[key]) for key in keys[:2]]
        return state.Page(entries, keys[1] if len(keys) > 2 else None)

    def send(self, _to, _kind, _body):
        raise Err(types.SendError_Full())

    def message(self, kind, body=b"", flags=types.MessageFlags.ASK, sender=0, attempt=1):
        return types.Message((1, 2), sender, self.number(kind), types.Channel.EVENTS, attempt, flags, body)


class Sample(skep.Agent):
    def start(self, why):
        self.why = why
        if self.config.get("broken"):
            raise skep.Unusable("broken is set")

    @skep.handles("add", dict)
    def add(self, body):
        self.state["sum"] = self.state.get("sum", 0) + body["n"]
        return self.state["sum"]

    @skep.handles("crash")
    def crash(self, _body):
        raise RuntimeError("told to")

    @skep.handles("later")
    def later(self, _body):
        self.ask("other", "total", then=self.answered, note={"to": self.message.id})
        return skep.LATER

    def answered(self, answer):
        self.reply(answer.note["to"], answer.error.reason if answer.error else answer.body)

    @skep.handles("send")
    def send_on(self, _body):
        self.send("other", "hello")

    @skep.timer("tick")
    def tick(self, body):
        self.state["ticked"] = body

    @skep.down
    def gone(self, agent, reason):
        self.state["gone"] = [agent, reason]


class Tests(unittest.TestCase):
    def setUp(self):
        self.world = World()
        self.start(types.StartReason_Fresh())

    def start(self, why):
        """A new instance of the component. Its `Guest` is made anew for each call, as componentize-py does."""
        self.guest = skep.guest(Sample)
        self.guest().start("{}", why)

    def handle(self, *messages, names=()):
        return self.guest().handle(list(names), list(messages))

    def refusal(self):
        return next(why for what, _, why in (entry for entry in self.world.done if entry[0] == "refuse"))

    def test_what_a_handler_returns_answers_the_ask(self):
        add = self.world.message("add", b'{"n":2}')
        self.assertEqual(self.handle(add, add), 2)
        self.assertEqual(self.world.done, [
            ("begin", 0), ("reply", (1, 2), b"2"), ("begin", 1), ("reply", (1, 2), b"4")])

    def test_a_message_that_is_no_ask_is_not_answered(self):
        self.handle(self.world.message("add", b'{"n":2}', types.MessageFlags(0)))
        self.assertEqual(self.world.done, [("begin", 0)])

    def test_bad_bodies_are_refused_and_the_batch_goes_on(self):
        bad = [b"", b"nonsense", b"[]", b"{}", b"\xff"]
        good = self.world.message("add", b'{"n":1}')
        self.assertEqual(self.handle(*(self.world.message("add", body) for body in bad), good), 6)
        refused = [entry for entry in self.world.done if entry[0] == "refuse"]
        self.assertEqual([index for _, index, _ in refused], [0, 1, 2, 3, 4])
        self.assertTrue(all(isinstance(why, types.Refusal_Invalid) for _, _, why in refused))
        self.assertEqual(refused[2][2].value, "the body is an array, not an object")
        self.assertEqual(refused[3][2].value, "the body has no n")
        self.assertEqual(self.world.done[-1], ("reply", (1, 2), b"1"))

    def test_an_unknown_kind_is_refused(self):
        self.handle(self.world.message("nothing"))
        self.assertEqual(self.refusal(), types.Refusal_UnknownKind("this agent has no method for the message nothing"))

    def test_a_session_that_waits_no_more_may_be_left_unheard(self):
        self.handle(self.world.message("session.closed", b'"late"', types.MessageFlags(0)))
        self.assertEqual(self.world.done, [("begin", 0)])

    def test_a_failed_send_refuses_as_unavailable(self):
        self.handle(self.world.message("send"))
        self.assertEqual(self.refusal(), types.Refusal_Unavailable("not sent to other: full"))

    def test_any_other_exception_fails_the_turn(self):
        with self.assertRaises(Err) as failed:
            self.handle(self.world.message("crash"))
        self.assertIsInstance(failed.exception.value, types.TurnError_Failed)
        self.assertRegex(failed.exception.value.value, r"^RuntimeError: told to \(test_skep.py:\d+ crash < skep.py:")

    def test_an_unusable_configuration_is_told_apart(self):
        with self.assertRaises(Err) as failed:
            skep.guest(Sample)().start('{"broken":true}', types.StartReason_Restarted())
        self.assertEqual(failed.exception.value, types.TurnError_Unusable("broken is set"))

    def test_an_answer_finds_its_method_in_a_new_instance(self):
        self.handle(self.world.message("later"))
        self.assertEqual(self.world.done[1][0], "ask")
        self.start(types.StartReason_Woken())
        self.assertEqual(self.guest.agent.why, "woken")
        self.handle(self.world.message("total", b"5", types.MessageFlags.ANSWER, sender=self.world.number("other")))
        self.assertEqual(self.world.done[-1], ("reply", (1, 2), b"5"))
        self.assertEqual(self.world.kept, {})

    def test_a_failed_ask_says_why(self):
        self.handle(self.world.message("later"))
        flags = types.MessageFlags.ANSWER | types.MessageFlags.FAILED
        self.handle(self.world.message("total", b"", flags))
        self.assertEqual(self.world.done[-1], ("reply", (1, 2), b'"timeout"'))

    def test_an_answer_that_nobody_waits_for_is_logged(self):
        self.handle(self.world.message("total", b"5", types.MessageFlags.ANSWER))
        self.assertEqual(self.world.done[-1][:2], ("log", log.Level.WARN))

    def test_timers_and_ends_have_methods_of_their_own(self):
        other = self.world.number("other")
        self.handle(self.world.message("tick", b"1", types.MessageFlags.TIMER),
                    self.world.message("down", b"normal", types.MessageFlags.DOWN, sender=other))
        self.assertEqual((self.guest.agent.state["ticked"], self.guest.agent.state["gone"]), (1, ["other", "normal"]))

    def test_state_is_read_in_parts_without_the_librarys_keys(self):
        agent_state = self.guest.agent.state
        for key in ("a", "b", "c", "d", "e"):
            agent_state[key] = key
        self.world.kept["skep:ask:1"] = b"{}"
        self.assertEqual(dict(agent_state.items()), {key: key for key in "abcde"})
        self.assertRaises(ValueError, agent_state.get, "skep:ask:1")
        self.assertRaises(KeyError, lambda: agent_state["missing"])
        self.assertIn("a", agent_state)

    def test_a_kind_that_is_handled_twice_is_an_error_of_the_build(self):
        class Twice(skep.Agent):
            @skep.handles("same")
            def one(self, body):
                pass

            @skep.handles("same")
            def two(self, body):
                pass
        self.assertRaisesRegex(TypeError, "same is handled by both one and two", skep.guest, Twice)


if __name__ == "__main__":
    unittest.main()
