package core

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// codecTable is what this node can decode: with the Compressors of its handlers, of
// its configuration, and of the calls that it has made. What was announced to a peer
// keeps its number for as long as the node lives.
type codecTable struct {
	mu     sync.Mutex // guards changes
	sealed bool       // numbers are given
	set    atomic.Pointer[codecSet]
}

// codecSet is what a codecTable has at a moment. It is immutable; a later one
// begins with what was in it before, once the table is sealed. The number of a codec
// or a dictionary is its index and 1.
type codecSet struct {
	names []*compressor // of each name the first one
	dicts []knownDict
}

// knownDict is a dictionary, and a Compressor that has it.
type knownDict struct {
	codec uint8
	id    uint64
	with  *compressor
}

// number returns that of a name, 0 if there is none.
func (s *codecSet) number(name string) uint8 {
	return uint8(1 + slices.IndexFunc(s.names, func(c *compressor) bool { return c.name == name }))
}

// has reports whether all of the Compressor is in the set.
func (s *codecSet) has(c *compressor) bool {
	n := s.number(c.name)
	if n == 0 {
		return false
	}
	for _, id := range c.ids {
		if !slices.ContainsFunc(s.dicts, func(d knownDict) bool { return d.codec == n && d.id == id }) {
			return false
		}
	}
	return true
}

// add makes the table know Compressors with all their dictionaries, or with an error
// nothing of them. It takes no lock if there is nothing new about them, also if they
// are those of an option that was made for a single call.
func (t *codecTable) add(all ...*compressor) error {
	set := t.set.Load()
	isNew := func(c *compressor) bool {
		return c != nil && c != notCompressed && c.known.Load() != t && !set.has(c)
	}
	if !slices.ContainsFunc(all, isNew) {
		return nil
	}
	findWindows(all)
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.set.Load()
	next := &codecSet{slices.Clip(old.names), slices.Clip(old.dicts)}
	for _, c := range all {
		if c != nil && c != notCompressed {
			if err := next.add(c); err != nil {
				return err
			}
		}
	}
	if len(next.names) > len(old.names) || len(next.dicts) > len(old.dicts) {
		t.set.Store(next)
	}
	for _, c := range all {
		if c != nil && c != notCompressed {
			c.known.Store(t)
		}
	}
	return nil
}

// add adds a Compressor to a set that nobody else has yet.
func (s *codecSet) add(c *compressor) error {
	n := s.number(c.name)
	if n == 0 {
		s.names = append(s.names, c)
		n = uint8(len(s.names))
		if w := c.windowed(); w != nil && s.number(w.name) == 0 {
			s.names = append(s.names, w)
		}
	}
	for _, id := range c.ids {
		if !slices.ContainsFunc(s.dicts, func(d knownDict) bool { return d.codec == n && d.id == id }) {
			s.dicts = append(s.dicts, knownDict{n, id, c})
		}
	}
	if len(s.names) > wire.MaxCodecs || len(s.dicts) > wire.MaxDicts {
		return fmt.Errorf("Compressor %q: the node would have %d Compressors, those with windows counted twice, and %d dictionaries, "+
			"at most %d and %d can be announced",
			c.name, len(s.names), len(s.dicts), wire.MaxCodecs, wire.MaxDicts)
	}
	return nil
}

// seal gives the numbers, in the order of the names: nodes with the same handlers
// have the same catalogue, in whatever order they were registered.
func (t *codecTable) seal() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sealed {
		return
	}
	t.sealed = true
	old := t.set.Load()
	next := &codecSet{slices.Clone(old.names), slices.Clone(old.dicts)}
	slices.SortFunc(next.names, func(a, b *compressor) int { return cmp.Compare(a.name, b.name) })
	for i, d := range next.dicts {
		next.dicts[i].codec = next.number(d.with.name)
	}
	t.set.Store(next)
}

// decoder finds what decodes a message, and with which dictionary.
func (s *codecSet) decoder(codec, dict uint8) (c *compressor, id uint64, err error) {
	if codec == 0 || int(codec) > len(s.names) {
		return nil, 0, fmt.Errorf("%w: codec %d", errUnsupported, codec)
	}
	if dict == 0 {
		return s.names[codec-1], 0, nil
	}
	if int(dict) > len(s.dicts) || s.dicts[dict-1].codec != codec {
		return nil, 0, fmt.Errorf("%w: dictionary %d of codec %d", errUnsupported, dict, codec)
	}
	d := &s.dicts[dict-1]
	return d.with, d.id, nil
}

// announcement is the part of the set behind what was announced before.
func (s *codecSet) announcement(names, dicts int) (newNames []string, newDicts []wire.Dict) {
	for _, c := range s.names[names:] {
		newNames = append(newNames, c.name)
	}
	for _, d := range s.dicts[dicts:] {
		newDicts = append(newDicts, wire.Dict{Codec: d.codec, ID: d.id})
	}
	return newNames, newDicts
}

// peerCodecs are what a peer can decode, by its own word. It is immutable.
type peerCodecs struct {
	names []string
	dicts []wire.Dict
}

func newPeerCodecs(names []string, dicts []wire.Dict) *peerCodecs {
	if len(names) == 0 {
		return nil
	}
	return &peerCodecs{names, dicts}
}

// number returns that of a name, 0 if the peer does not have it.
func (p *peerCodecs) number(name string) uint8 {
	if p == nil {
		return 0
	}
	return uint8(1 + slices.Index(p.names, name))
}

// name returns that of a number, "" if the peer has not announced it.
func (p *peerCodecs) name(number uint8) string {
	if p == nil || number == 0 || int(number) > len(p.names) {
		return ""
	}
	return p.names[number-1]
}

// dictionary returns the first of the Compressor's dictionaries that the peer has
// for the codec of that number.
func (p *peerCodecs) dictionary(codec uint8, ids []uint64) (number uint8, id uint64) {
	for _, id := range ids {
		if i := slices.Index(p.dicts, wire.Dict{Codec: codec, ID: id}); i >= 0 {
			return uint8(i + 1), id
		}
	}
	return 0, 0
}

// onCodecs is told what else the peer can decode.
func (s *session) onCodecs(f *wire.Frame) error {
	if s.isLane() {
		return fmt.Errorf("%w: %v on a lane", wire.ErrMalformed, f.Type)
	}
	names, dicts, err := wire.ParseCodecs(f)
	if err != nil {
		return err
	}
	next := &peerCodecs{}
	if old := s.peerCodecs.Load(); old != nil {
		*next = *old
	}
	next.names = append(slices.Clip(next.names), names...)
	next.dicts = append(slices.Clip(next.dicts), dicts...)
	if len(next.names) > wire.MaxCodecs || len(next.dicts) > wire.MaxDicts {
		return fmt.Errorf("%w: %d codecs with %d dictionaries", wire.ErrMalformed, len(next.names), len(next.dicts))
	}
	s.peerCodecs.Store(next)
	return nil
}

// tellCodecs announces what this node can decode since a call was made with it. It
// is for the first lane.
func (s *session) tellCodecs() {
	set := s.m.codecs.set.Load()
	if s.told.Load() == set {
		return
	}
	w := &s.w
	w.mu.Lock()
	told := s.told.Load()
	if told == set || len(set.names)+len(set.dicts) <= len(told.names)+len(told.dicts) {
		w.mu.Unlock()
		return
	}
	names, dicts := set.announcement(len(told.names), len(told.dicts))
	w.urgent.room(s.layout, wire.CodecsSize(names, dicts))
	w.urgent.buf = wire.AppendCodecs(w.urgent.buf, names, dicts)
	s.told.Store(set)
	w.kick(true)
}

// wish is how the node of a handler wants its requests to be compressed.
type wish struct {
	with      *compressor
	threshold int32
	window    bool // the messages of a stream shall share one
}

// takeWishes learns from the catalogue of the peer which of its handlers want
// compressed requests that this node can make: with the Compressor that it has for
// the same handler, or with any of that name.
func (s *session) takeWishes(known *catalogue) {
	peer := s.peerCodecs.Load()
	if peer == nil || s.peer == s.m.local || s.wished.Load() {
		return
	}
	var wishes map[uint64]wish
	set := s.m.codecs.set.Load()
	for hash, e := range known.entries {
		name := strings.TrimSuffix(peer.name(e.codec), windowSuffix) // no window is for what is not a stream (W98)
		if name == "" {
			continue
		}
		var own wish
		if h := s.m.handlers.byHash[hash]; h != nil && h.compress[toHandler] != nil {
			own = wish{with: h.compress[toHandler], threshold: h.threshold}
		}
		if own.with == nil || own.with != notCompressed && own.with.name != name {
			n := set.number(name)
			if n == 0 {
				continue
			}
			own = wish{with: set.names[n-1]}
		}
		if own.with == notCompressed {
			continue
		}
		if wishes == nil {
			wishes = map[uint64]wish{}
		}
		own.window = known.windows[hash]
		wishes[hash] = own
	}
	if wishes != nil {
		s.wishes.Store(&wishes)
	}
	s.wished.Store(true)
}
