package main

// compressionMutants are in what is compressed, what it says of itself, and the
// memory for what it becomes.
var compressionMutants = []mutant{
	{
		name: "codec-off-by-one",
		why:  "a message says that it is compressed with the codec behind the one that it is compressed with",
		file: "core/pack.go",
		old:  "wire.SetCodec(b[at:], p.codec, p.dict,",
		new:  "wire.SetCodec(b[at:], p.codec+1, p.dict,",
	},
	{
		name: "own-numbers",
		why:  "codecs have the numbers of the sender, and not those of the receiver",
		file: "core/pack.go",
		old:  "how := packed{codec: peer.number(p.with.name),",
		new:  "how := packed{codec: min(peer.number(p.with.name), s.m.codecs.set.Load().number(p.with.name)),",
	},
	{
		name: "raw-called-packed",
		why:  "a message that is sent as it is, since it does not become smaller, is called compressed",
		file: "core/packcall.go",
		old:  "{over: st.Done})\n\tif buf == nil {\n\t\treturn st.sendAs(msg, packed{})",
		new:  "{over: st.Done})\n\tif buf == nil {\n\t\treturn st.sendAs(msg, packed{codec: 1, bytes: uint32(len(msg))})",
	},
	{
		name: "packed-called-raw",
		why:  "a compressed message in parts is taken for what it stands for",
		file: "core/bulk.go",
		old:  "\t\tb.how.mark(bt.buf, at)\n",
		new:  "",
	},
	{
		name: "room-for-what-arrives",
		why:  "memory is reserved for a compressed message by the size that it is sent as",
		file: "core/budget.go",
		old:  "max(a.how.weight(a.size), a.least)",
		new:  "max(a.size, a.least)",
	},
	{
		name:  "limit-before-decoding",
		why:   "the limit on messages is applied to what arrives, and not to what that becomes",
		file:  "core/arrival.go",
		old:   "if err == nil && r.Decoded > uint64(s.m.cfg.MaxMessage) {",
		new:   "if err == nil && r.Size > uint64(s.m.cfg.MaxMessage) {",
		seeds: []uint64{579},
	},
	{
		name: "credit-of-the-decoded",
		why:  "who takes a compressed message gives back credit for what it has become, which the other side never paid",
		file: "core/inpacked.go",
		old:  "\t\treturn dst, st.broken(err)\n\t}\n\tst.took(len(src))\n\treturn out, nil",
		new:  "\t\treturn dst, st.broken(err)\n\t}\n\tst.took(how.size())\n\treturn out, nil",
	},
	{
		name: "packed-put-back-early",
		why:  "the memory of a large compressed request is recycled while the writer may still copy from it",
		file: "core/call.go",
		old:  "\tif r.own != nil && sl.bulk == nil {\n",
		new:  "\tif r.own != nil {\n",
	},
	{
		name: "answer-kept",
		why:  "the memory that is reserved for a compressed response is not given back by who restores it",
		file: "core/packcall.go",
		old:  "\t\ts.freePartial(sl)\n",
		new:  "",
	},
	{
		name: "raw-in-the-window",
		why:  "a message that is sent as it is since it is small enters the window of the sender, and not that of the receiver",
		file: "core/outwindow.go",
		old:  "\t\treturn false, nil\n\t}\n\tcodec :=",
		new: "\t\tif w := sh.window; w != nil && n > 0 && n < smallShared {\n\t\t\tw.Append(nil, p)\n\t\t}\n" +
			"\t\treturn false, nil\n\t}\n\tcodec :=",
	},
	{
		name: "window-of-another-stream",
		why:  "a window that was made for one stream is used for the next one, too",
		file: "core/outwindow.go",
		old:  "func newWindow(c *compressor) (w streamWindow) {\n",
		new: "var keptWindow = make(chan streamWindow, 1)\n\nfunc newWindow(c *compressor) (w streamWindow) {\n" +
			"\tselect {\n\tcase w = <-keptWindow:\n\t\treturn w\n\tdefault:\n\t}\n" +
			"\tdefer func() {\n\t\tselect {\n\t\tcase keptWindow <- w:\n\t\tdefault:\n\t\t}\n\t}()\n",
	},
	{
		name: "windows-count-for-ever",
		why:  "a window of what a peer sends counts as in use when it is closed",
		file: "core/inwindow.go",
		old:  "\t\tw.of.sharing.receives.giveBack()\n",
		new:  "",
	},
	{
		name: "told-too-much",
		why:  "a peer is told again of all codecs when there is a new one, which shifts the numbers of what follows",
		file: "core/codecs.go",
		old:  "set.announcement(len(told.names), len(told.dicts))",
		new:  "set.announcement(0, 0)",
	},
}
