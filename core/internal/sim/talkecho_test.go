package sim_test

import (
	"fmt"
	"time"
)

// Echoes are streams with large messages between two nodes, both ways at once, whose
// handlers send one for each that they take, where hardly any memory is reserved for
// such messages: each node waits for what the other one holds, and all of it has to go
// on as long as callers read.

// echoes is what a seed has of them.
type echoes struct {
	on      bool
	streams int // each way
	size    int // of the largest message
}

// actEcho has no place in the table: what is drawn for that would shift all seeds.
var actEcho = &action{name: "stream-echo", pair: true, do: doEcho}

// drawEchoes draws from a source of its own whether a cluster has echoes, and makes its
// memory small then. It is for the limits when they are drawn.
func (p *profile) drawEchoes() {
	r := stream(p.seed, 8)
	if r.IntN(6) != 0 || p.apart || p.buffer != 0 || p.limits.MaxMessage > 200<<10 || p.tight {
		return
	}
	p.echo = echoes{on: true, streams: 2 + r.IntN(6), size: p.limits.MaxMessage/2 + r.IntN(p.limits.MaxMessage/2)}
	p.limits.MaxReassembly = p.limits.MaxMessage
	if p.window() >= p.echo.size/2 {
		p.limits.StreamWindow = pick(r, 100, 4<<10, p.echo.size/4)
	}
}

func (e echoes) String() string {
	if !e.on {
		return "none"
	}
	return fmt.Sprintf("%d streams each way, of up to %d bytes", e.streams, e.size)
}

// drawEchoes adds them to a schedule, from a source of its own.
func (g *generator) drawEchoes() {
	if !g.p.echo.on {
		return
	}
	own := *g
	own.Rand = stream(g.p.seed, 9)
	for range 1 + own.IntN(3) {
		e := own.event(actEcho, own.within(g.p.length))
		own.pair(e)
		h := &talkHandlers[3+len(talkHandlers)/2*own.IntN(2)] // that takes and gives
		s := &talkSpec{handler: h.id, channels: own.IntN(3) == 0, order: orderEcho}
		window := g.p.window()
		for range 3 + own.IntN(6) {
			s.up.sizes = append(s.up.sizes, window+1+own.IntN(g.p.echo.size-window))
			s.down.sizes = append(s.down.sizes, window+1+own.IntN(g.p.echo.size-window))
		}
		s.up.half = true
		s.end, s.after = endTimeout, odd(time.Minute+own.between(time.Second, time.Minute))
		e.talk, e.n, e.d = s, g.p.echo.streams, 2*own.between(time.Nanosecond, g.p.latency/2)
		own.add(e)
	}
	g.events = own.events
}

// doEcho holds the talks of two nodes, in turn from one and from the other. Their times
// differ a little.
func doEcho(w *world, e *event) {
	later := time.Duration(0)
	for i := range 2 * e.n {
		spec := *e.talk
		spec.after += time.Duration(i) * 2002
		from := e.a
		if spec.to = e.b; i%2 == 1 {
			from, spec.to = e.b, e.a
		}
		w.converse(from, &spec, later)
		later += e.d
	}
}
