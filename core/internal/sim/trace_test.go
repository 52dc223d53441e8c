package sim_test

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// trace is what happened in a run, for its hash and for those who look into a
// failure. Two runs of a seed count as identical if the same happened at the
// same instants; the order within an instant is the scheduler's and does not
// count.
type trace struct {
	start time.Time

	mu      sync.Mutex
	text    []byte
	entries []traceEntry
}

type traceEntry struct {
	at       time.Duration
	from, to int // in text
	quiet    bool
}

// addf notes that something happens now.
func (t *trace) addf(format string, args ...any) { t.enter(false, format, args) }

// notef is addf for what is told but not compared.
func (t *trace) notef(format string, args ...any) { t.enter(true, format, args) }

func (t *trace) enter(quiet bool, format string, args []any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	from := len(t.text)
	t.text = fmt.Appendf(t.text, format, args...)
	t.entries = append(t.entries, traceEntry{time.Since(t.start), from, len(t.text), quiet})
}

// sorted returns the entries by instant, and within one by text.
func (t *trace) sorted() []traceEntry {
	entries := slices.Clone(t.entries)
	slices.SortStableFunc(entries, func(a, b traceEntry) int {
		return cmp.Or(cmp.Compare(a.at, b.at), bytes.Compare(t.text[a.from:a.to], t.text[b.from:b.to]))
	})
	return entries
}

// hash is the fingerprint of the run.
func (t *trace) hash() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := sha256.New()
	var head [16]byte
	for _, e := range t.sorted() {
		if e.quiet {
			continue
		}
		binary.LittleEndian.PutUint64(head[:], uint64(e.at))
		binary.LittleEndian.PutUint64(head[8:], uint64(e.to-e.from))
		h.Write(head[:])
		h.Write(t.text[e.from:e.to])
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// write prints the run, one line per entry.
func (t *trace) write(w io.Writer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range t.entries {
		mark := " "
		if e.quiet {
			mark = "~"
		}
		fmt.Fprintf(w, "%s %s %s\n", stamp(e.at), mark, t.text[e.from:e.to])
	}
}

// stamp writes an instant so that columns align.
func stamp(at time.Duration) string { return fmt.Sprintf("%14.9f", at.Seconds()) }

// framesOf names the frames of a batch, for a reader of traces. What is in front
// of them, such as a checksum, or is no frame is told by its length.
func framesOf(b []byte) string {
	s := fmt.Sprintf("%d bytes:", len(b))
	for len(b) > 0 {
		f, rest, err := wire.Next(b)
		if err != nil {
			return fmt.Sprintf("%s and %d that are no frame", s, len(b))
		}
		if s = fmt.Sprintf("%s %v", s, f.Type); f.ID != 0 {
			s = fmt.Sprintf("%s %v", s, f.ID)
		}
		b = rest
	}
	return s
}
