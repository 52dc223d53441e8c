package main

// transportMutants are in the transports, each of which it takes to find them.
var transportMutants = []mutant{
	{
		name: "websocket-left-open",
		why:  "a connection that says goodbye is not closed",
		file: "transport/websocket/close.go",
		old:  "\tif err := c.raw.Close(); err != nil && ",
		new:  "\tif err := c.out.err; err != nil && ",
		over: "websocket",
	},
	{
		name: "websocket-gathers-too-much",
		why:  "of frames that are written together, one that just fills the buffer pushes out what is in it",
		file: "transport/websocket/write.go",
		old:  "\t\tif n > 0 && len(f) > len(buf)-n {\n",
		new:  "\t\tif n > 0 && len(f) > len(buf) {\n",
		over: "wss",
	},
	{
		name: "websocket-waits-for-the-writer",
		why:  "to close waits for a write in progress, however long that takes",
		file: "transport/websocket/close.go",
		old:  "\tgrace := time.NewTimer(lockGrace)\n",
		new:  "\tgrace := time.NewTimer(100 * closeTimeout)\n",
		over: "wss", seeds: []uint64{297},
	},
	{
		name: "quic-frame-in-two-chunks",
		why:  "a frame that begins at the end of a chunk is not moved to its beginning as a whole",
		file: "transport/quic/read.go",
		old:  "\t\tin.w = copy(in.chunk[:], in.chunk[in.r:in.w])\n",
		new:  "\t\tin.w = copy(in.chunk[:], in.chunk[in.r+1:in.w]) + 1\n",
		over: "quic",
	},
	{
		name: "quic-backlog-overlaps",
		why:  "of a long write on the first lane a byte is sent twice, where it takes turns with others",
		file: "transport/quic/write.go",
		old:  "\t\tp = p[fairBytes:]\n",
		new:  "\t\tp = p[fairBytes-1:]\n",
		over: "quic",
	},
}
