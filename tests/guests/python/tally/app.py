"""Counts per key in its state. Asks a peer by name and is asked; crashes when it is told to."""

import skep


class Tally(skep.Agent):
    @skep.handles("add", dict)
    def add(self, body):
        key, count = body["key"], body.get("count", 1)
        if not isinstance(count, int) or count < 0:
            raise skep.Invalid(f"count is not a natural number: {count}")
        total = self.state.get(f"count/{key}", 0) + count
        self.state[f"count/{key}"] = total
        return {"key": key, "total": total}

    @skep.handles("totals")
    def totals(self, _body):
        return {key.removeprefix("count/"): total for key, total in self.state.items("count/")}

    @skep.handles("ask-peer", dict)
    def ask_peer(self, body):
        """Asks the peer and answers when the peer has answered: two turns, one reply."""
        self.ask(self._peer(), body["kind"], body.get("body"), then=self.peer_answered, note=self.message.id)
        return skep.LATER

    def peer_answered(self, answer):
        self.state["answers"] = self.state.get("answers", 0) + 1
        if answer.error:
            self.reply(answer.note, {"failed": answer.error.reason})
        else:
            self.reply(answer.note, {"from": answer.sender, "reply": answer.body})

    @skep.handles("call-peer", dict)
    def call_peer(self, body):
        """The same inside one turn."""
        return {"from": self._peer(), "reply": self.call(self._peer(), body["kind"], body.get("body"))}

    @skep.handles("crash")
    def crash(self, body):
        """Writes, then fails at the first attempt: the write of that attempt must not be seen."""
        self.state["crashes"] = self.state.get("crashes", 0) + 1
        if self.message.attempt <= (body or {}).get("attempts", 1):
            raise RuntimeError("told to crash")
        return {"attempt": self.message.attempt, "crashes": self.state["crashes"]}

    def _peer(self):
        peer = self.config.get("peer")
        if not peer:
            raise skep.Unavailable("the configuration names no peer")
        return peer


Guest = skep.guest(Tally)
