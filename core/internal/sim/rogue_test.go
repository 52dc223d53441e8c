package sim_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/wire"
	"github.com/gridmux/gridmux/transport"
)

// rogueName is the member that does not keep to the protocol: it says valid
// things first, and then others. Whatever it does, it must be alone in suffering
// from it.
const rogueName = "rogue"

// serveRogue is the one handler that the rogue calls. The others would find that
// its requests are none of the ledger's.
func (in *incarnation) serveRogue(ctx context.Context, req []byte) ([]byte, error) {
	peer := core.PeerFromContext(ctx)
	in.enter(peer, false)
	defer in.leave(peer, false)
	defer in.carries(peer, len(req))()
	if len(req) > 0 && req[0]%4 == 0 {
		select { // like a handler that has something to do
		case <-ctx.Done():
		case <-time.After(time.Duration(req[0]) * time.Millisecond):
		}
	}
	return req, nil
}

// planRogue draws a visit of the rogue.
func planRogue(g *generator, e *event) bool {
	e.n = g.IntN(200) // frames before it goes wrong
	e.d = g.between(time.Microsecond, 100*time.Millisecond)
	planRogueTalks(g, e)
	return true
}

func doRogue(w *world, e *event) {
	v := &visit{w: w, number: e.index, to: nameOf(e.a), addr: w.all[e.a].Addr, frames: e.n, gap: e.d, r: stream(e.seed, 7), writing: make(chan struct{}, 1)}
	v.streams = v.r.IntN(3) > 0
	w.background(v.run)
	later := time.Duration(0)
	for range 3 {
		w.converse(e.a, e.talk, later)
		later += v.gap | 1
	}
}

// visit is one connection of the rogue.
type visit struct {
	w        *world
	number   int // of its event
	to, addr string
	frames   int
	gap      time.Duration
	r        *rand.Rand
	streams  bool // it knows of streams
	tc       transport.Conn
	said     []byte        // in the handshake; nil after it
	next     uint32        // requests that rise
	own      []wire.CallID // streams that the rogue has opened

	writing chan struct{} // full while somebody writes
	mu      sync.Mutex
	asked   []wire.CallID // streams that the node has opened
}

// rogueHash is the name of hRogue on the wire (W25).
var rogueHash = hashOf(hRogue)

// longestVisit bounds how long the rogue stays.
const longestVisit = 3 * time.Second

func (v *visit) run() {
	ctx, cancel := context.WithTimeout(context.Background(), longestVisit)
	defer cancel()
	tr, err := v.w.net.node(rogueName, rogueName, fmt.Sprintf("%s-%d", rogueName, v.number))
	if err != nil {
		v.w.violatef("I14", "the rogue gets no place in the network: %v", err)
		return
	}
	tc, err := tr.Dial(ctx, transport.Peer{Name: v.to, Addr: v.addr})
	if err != nil {
		return
	}
	v.tc = tc
	defer tc.CloseWithError(0, "")
	defer context.AfterFunc(ctx, func() { _ = tc.CloseWithError(0, "") })()
	if !v.greet(ctx) {
		return
	}
	v.w.trace.addf("the rogue is in at %s", v.to)
	deaf := v.r.IntN(4) == 0
	if !deaf {
		go v.listen()
	}
	for i := range v.frames + 3 {
		var batch []byte
		for range 1 + v.r.IntN(4) {
			batch = append(batch, v.frame()...)
		}
		if i >= v.frames {
			batch = v.spoil(batch)
		}
		if v.write(batch) != nil {
			return
		}
		v.wait()
	}
	time.Sleep(time.Duration(v.r.Int64N(int64(time.Second))))
}

func (v *visit) wait() {
	time.Sleep(1 + time.Duration(v.r.Int64N(int64(v.gap))))
}

// write sends a batch, after the handshake with a checksum where that is asked
// for.
func (v *visit) write(batch []byte) error {
	b := batch
	if v.w.p.plain && v.said == nil {
		b = append(make([]byte, wire.ChecksumSize), batch...)
		wire.PutChecksum(b)
	}
	v.writing <- struct{}{} // a lock would stop the clock
	defer func() { <-v.writing }()
	return v.tc.WriteFrames([][]byte{b})
}

// greet shakes hands, or goes wrong in the middle of it. It reports whether the
// rogue is in.
func (v *visit) greet(ctx context.Context) bool {
	stage := v.r.IntN(24) // beyond 3: none
	spoilt := func(n int, b []byte) []byte {
		if stage == n {
			return v.spoil(b)
		}
		return b
	}
	init := wire.Init{MinVersion: wire.Version, MaxVersion: wire.Version}
	if v.say(spoilt(0, wire.AppendInit(nil, &init))) != nil || !v.hear() {
		return false
	}
	hello := wire.Hello{
		Cluster: clusterName, From: rogueName, To: v.to, MaxFrame: 128 << 10, MaxMsg: 1 << 20, Window: wire.DefaultWindow, MaxCalls: 1000,
	}
	hello.Instance[0] = byte(v.r.IntN(256))
	if v.w.p.plain {
		hello.Features |= wire.FeatureChecksum
	}
	said := wire.AppendHello(nil, &hello)
	v.said = append(v.said, said...)
	var proof []byte
	if auth := v.w.p.authOf(rogueName); auth != nil {
		before := sha256.Sum256(v.said)
		transcript := sha256.Sum256(slices.Concat([]byte("gridmux/1 dialler\x00"), before[:]))
		var err error
		if proof, err = auth.Prove(ctx, v.to, transcript[:]); err != nil {
			v.w.violatef("I14", "the rogue cannot prove itself: %v", err)
			return false
		}
	}
	frames := [][]byte{spoilt(1, said), spoilt(2, wire.AppendProof(nil, proof))}
	if v.tc.WriteFrames(frames) != nil || !v.hear() || !v.hear() {
		return false
	}
	v.said = nil
	// Alone and without a checksum, as all of the handshake.
	return v.tc.WriteFrames([][]byte{spoilt(3, wire.AppendReady(nil))}) == nil
}

// say sends a frame of the handshake.
func (v *visit) say(b []byte) error {
	v.said = append(v.said, b...)
	return v.tc.WriteFrames([][]byte{slices.Clone(b)})
}

// hear takes one in, and reports whether there was one that does not refuse.
func (v *visit) hear() bool {
	b, err := v.tc.ReadFrame(wire.MaxHandshakeFrame)
	if err != nil {
		return false
	}
	v.said = append(v.said, b...)
	f, _, err := wire.Next(b)
	return err == nil && f.Type != wire.TypeReject
}

// frame returns a frame, mostly one that fits.
func (v *visit) frame() []byte { return packedByRogue(v.plainFrame(), v.w.p.limits.MaxMessage) }

func (v *visit) plainFrame() []byte {
	r := v.r
	payload := make([]byte, r.IntN(200))
	for i := range payload {
		payload[i] = byte(r.Uint32())
	}
	switch n := r.IntN(120); {
	case n < 3:
		return v.misfit(payload)
	case n < 10:
		return wire.AppendPing(nil, pick(r, wire.TypePing, wire.TypePong), r.Uint64())
	case n < 70 && v.streams:
		return v.streamFrames(payload)
	default:
		return wire.AppendRequest(nil, v.rise(), rogueHash, uint64(r.IntN(1e5)), 0, payload)
	}
}

// misfit returns a frame that is well formed, but for a call that there may never
// have been.
func (v *visit) misfit(payload []byte) []byte {
	r := v.r
	id := wire.MakeCallID(1+uint32(r.IntN(5)), uint32(r.IntN(10)), uint8(r.IntN(20)/19))
	status := wire.Status{Code: wire.Code(r.IntN(40)), Message: "the rogue"}
	switch r.IntN(7) {
	case 0:
		return wire.AppendStatus(nil, wire.TypeReset, id, status)
	case 1:
		return wire.AppendAck(nil, r.Uint64N(1<<20))
	case 2:
		return wire.AppendFragment(nil, id, payload)
	case 3:
		return wire.AppendRequestStart(nil, id, rogueHash, uint64(r.IntN(1e6)), 0, uint64(r.IntN(1<<22)), payload)
	case 4:
		return wire.AppendResponse(nil, id^1, payload)
	case 5:
		return wire.AppendStatus(nil, pick(r, wire.TypeError, wire.TypeRefused), id^1, status)
	default:
		return wire.AppendStatus(nil, wire.TypeGoaway, 0, status)
	}
}

// spoil changes what was valid.
func (v *visit) spoil(b []byte) []byte {
	b = slices.Clone(b)
	for range 1 + v.r.IntN(3) {
		switch at := v.r.IntN(len(b)); v.r.IntN(4) {
		case 0:
			b[at] ^= 1 << v.r.IntN(8)
		case 1:
			b[at] = byte(v.r.Uint32())
		case 2:
			b = b[:max(at, 1)]
		default:
			b = slices.Insert(b, at, byte(v.r.Uint32()))
		}
	}
	return b
}
