package main

// streamMutants are in streams, their flow control, the memory of large messages
// and the turns of bulk.
var streamMutants = []mutant{
	// Credit.
	{
		name: "credit-off-by-one",
		why:  "a receiver takes one message more than it has given credit for",
		file: "core/inbox.go",
		old:  "case q.messages < 1 || q.bytes < cost:",
		new:  "case q.messages < 0 || q.bytes < cost:",
	},
	{
		name: "bytes-not-paid",
		why:  "a sender looks at its credit of bytes and does not use it up",
		file: "core/outbox.go",
		old:  "\to.messages--\n\to.bytes -= cost\n",
		new:  "\to.messages--\n",
	},
	{
		name:  "credit-overwritten",
		why:   "credit that waits to be written is replaced by what comes next instead of being added to",
		file:  "core/control.go",
		old:   "\tst.owedBytes += bytes\n",
		new:   "\tst.owedBytes = bytes\n",
		seeds: []uint64{393, 551, 1818},
	},
	{
		name:  "credit-twice",
		why:   "who drops what has arrived gives the credit for a message in parts back now and again when it is whole",
		file:  "core/inbox.go",
		old:   "\t\tmessages--\n\t\tbytes -= m.cost\n",
		new:   "",
		seeds: []uint64{980, 1278},
	},
	{
		name: "credit-kept",
		why:  "who waits for a message keeps the credit that the sender of a large one waits for",
		file: "core/inbox.go",
		old:  "return q.takenBytes > q.window-q.first }",
		new:  "return q.takenBytes > q.window }",
	},
	{
		name:  "any-credit-taken",
		why:   "credit that exceeds the capacity is believed",
		file:  "core/outbox.go",
		old:   "\tif int64(messages) > int64(o.capacity-o.messages) || int64(bytes)",
		new:   "\tif int64(bytes)",
		seeds: []uint64{137, 183, 318},
	},
	{
		name: "window-of-a-closed-stream",
		why:  "the window of a stream stays reserved after its end",
		file: "core/stream.go",
		old:  "\tst.s.peer.windows.release(st.in.held)\n",
		new:  "",
	},
	{
		name: "window-grows-for-free",
		why:  "what a window grows by is not given back with the rest",
		file: "core/inbox.go",
		old:  "\t\tq.held += more\n",
		new:  "",
	},

	// Order and ends.
	{
		name: "end-before-the-last",
		why:  "an end overtakes the large message in front of it",
		file: "core/outbox.go",
		old:  "\tif o.large != nil {\n\t\to.tail = room(o.tail, n)",
		new:  "\tif o.large != nil && o.tail != nil {\n\t\to.tail = room(o.tail, n)",
	},
	{
		name:  "end-forgotten",
		why:   "what stands behind a large message is dropped when that is on its way",
		file:  "core/outbox.go",
		old:   "o.buf, o.tail = o.tail, nil\n\t\t\to.wakeUp()",
		new:   "o.buf, o.tail = nil, nil\n\t\t\to.wakeUp()",
		seeds: []uint64{144, 167, 304},
	},
	{
		name: "loss-as-end",
		why:  "a stream that is lost with its connection ends like one that is over",
		file: "core/inbox.go",
		old:  "case st.err != nil:\n\t\treturn st.err\n\tcase st.serving() && !st.in.ended:",
		new:  "case st.err != nil && !errors.Is(st.err, ErrDisconnected):\n\t\treturn st.err\n\tcase st.serving() && !st.in.ended:",
	},
	{
		name: "lost-and-well",
		why:  "a handler in the form of channels whose messages could not be sent ends well",
		file: "core/channels.go",
		old:  "if lost := <-sent; err == nil && lost != nil {",
		new:  "if lost := <-sent; err != nil && lost != nil {",
	},
	{
		name: "read-after-close",
		why:  "what had arrived is received after Close",
		file: "core/inbox.go",
		old:  "q.off == len(q.cur.b) || st.dropped.Load() {",
		new:  "q.off == len(q.cur.b) {",
	},
	{
		name: "frame-of-another-stream",
		why:  "a frame is taken for the stream of the frame before it, which had the slot earlier",
		file: "core/streamframes.go",
		old:  "st != nil && st.id == f.ID {",
		new:  "st != nil && st.id.Slot() == f.ID.Slot() && st.id.Side() == f.ID.Side() {",
	},
	{
		name: "fragment-of-another-call",
		why:  "the rest of a message whose call was given up is added to that of the next call in the slot",
		file: "core/table.go",
		old:  "\tsl := t.lookup(id)\n\tif sl == nil {\n\t\treturn inProgress{}, false\n\t}\n",
		new: "\tif int64(id.Slot()) >= int64(len(t.slots)) || !t.slots[id.Slot()].pending {\n" +
			"\t\treturn inProgress{}, false\n\t}\n\tsl := t.slots[id.Slot()]\n",
	},
	{
		name: "unsent-though-open",
		why:  "a stream that is given up says that it was not sent, and its handler runs",
		file: "core/outbox.go",
		old:  "\tunsent = !o.opened\n",
		new:  "\tunsent = b != nil || !o.opened\n",
	},

	// Memory and turns.
	{
		name: "dropped-but-held",
		why:  "a message that is whole after its receiver stopped to read keeps its memory",
		file: "core/inlarge.go",
		old:  "\t\tm.drop()\n\t\tst.passOver(m.cost)\n",
		new:  "\t\tst.passOver(m.cost)\n",
	},
	{
		name: "place-kept",
		why:  "messages that wait for memory of the peer keep their places when the stream is over",
		file: "core/streamcall.go",
		old:  "\tif st.sentLarge() {\n",
		new:  "\tif false {\n",
	},
	{
		name:  "one-memory-both-ways",
		why:   "messages for handlers of streams have no memory apart from those for callers, so two nodes that echo wait for each other",
		file:  "core/budget.go",
		old:   "\treturn kindOutput\n",
		new:   "\treturn kindInput\n",
		seeds: []uint64{207, 432, 472},
	},
	{
		name:  "one-memory-for-all",
		why:   "messages of all peers share what one of them may have",
		file:  "core/inlarge.go",
		old:   "m.budget = &st.s.peer.memory[messageKind(st.serving())]",
		new:   "m.budget = &st.s.m.local.memory[messageKind(st.serving())]",
		seeds: []uint64{2906},
	},
	{
		name: "turn-lost",
		why:  "a stream of which the writer has not taken everything gets no further turn",
		file: "core/outbox.go",
		old:  "more = o.taken != nil || st.hasOutput()",
		new:  "more = st.hasOutput()",
	},
	{
		name: "pace-of-the-past",
		why:  "the pace is not told what was acknowledged between two measurements",
		file: "core/pace.go",
		old:  "\tp.acked = total\n\tif p.timed == 0",
		new:  "\tif p.timed != 0 {\n\t\tp.acked = total\n\t}\n\tif p.timed == 0",
	},
}
