package core

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// CompressionStats is what compression has done for the messages of one handler on
// this node since it was made, whether the node serves the handler or calls it.
type CompressionStats struct {
	// Handler and Route name the handler. Both are empty where those are counted
	// together that came after 4 096 others.
	Handler HandlerID
	Route   string
	// Requests are the messages to the handler: requests, initial payloads, and the
	// messages of its callers on streams. Responses are those from it.
	Requests, Responses CompressionFlow
}

// CompressionFlow is what compression has done for messages in one direction.
type CompressionFlow struct {
	// Sent counts the messages that this node has compressed to send them, Received those
	// that it has restored. Messages whose call or stream ended before they went out are
	// among those sent, and those of a call that is made again over another connection
	// each time.
	Sent, Received CompressionCount
	// The messages, counted in the same way, that are sent as they are although
	// compression was wanted: because they were small; because they did not become
	// smaller by a sixteenth; without trying, because others before them did not; and
	// because the other node lacks the Compressor.
	Small, Incompressible, Sampled, Unsupported int64
	// Failed are messages that arrived and could not be restored.
	Failed int64
}

// CompressionCount counts messages.
type CompressionCount struct {
	Messages int64
	// Plain are their bytes without compression, Packed with it.
	Plain, Packed int64
	// Time is how long it took, which is the processor time where nothing else ran
	// meanwhile and no other message was ahead of them in the Compressor; for
	// messages sent that includes attempts in vain. Of messages below 4 KiB, but for
	// the first few, one in 64 is measured.
	Time time.Duration
}

// Saved returns how many bytes less compression has made of the messages that count as
// Sent and Received.
func (s CompressionStats) Saved() int64 {
	saved := int64(0)
	for _, f := range []CompressionFlow{s.Requests, s.Responses} {
		saved += f.Sent.Plain - f.Sent.Packed + f.Received.Plain - f.Received.Packed
	}
	return saved
}

// String says in a line what was sent and received compressed.
func (s CompressionStats) String() string {
	name := (handlerKey{s.Handler, s.Route}).String()
	return fmt.Sprintf("%s: saved %d bytes; requests %v, responses %v", name, s.Saved(), s.Requests, s.Responses)
}

// String says in a line what the numbers are.
func (f CompressionFlow) String() string {
	return fmt.Sprintf("sent %v, received %v, sent as they were %d",
		f.Sent, f.Received, f.Small+f.Incompressible+f.Sampled+f.Unsupported)
}

// String says in a line what the numbers are.
func (c CompressionCount) String() string {
	if c.Messages == 0 {
		return "0"
	}
	return fmt.Sprintf("%d: %d as %d bytes in %v", c.Messages, c.Plain, c.Packed, c.Time)
}

// stats returns what was counted, in the order of ids and routes.
func (t *flowTable) stats() (all []CompressionStats) {
	m := t.m.Load()
	if m == nil {
		return nil
	}
	for _, f := range *m {
		all = append(all, CompressionStats{
			Handler: f.key.id, Route: f.key.route, Requests: f.dirs[toHandler].stats(), Responses: f.dirs[fromHandler].stats(),
		})
	}
	slices.SortFunc(all, func(a, b CompressionStats) int {
		return cmp.Or(cmp.Compare(a.Handler, b.Handler), cmp.Compare(a.Route, b.Route))
	})
	return all
}

func (f *flow) stats() CompressionFlow {
	return CompressionFlow{
		Sent: f.out.stats(), Received: f.in.stats(),
		Small: f.small.Load(), Incompressible: f.incompressible.Load(), Sampled: f.sampled.Load(), Unsupported: f.unsupported.Load(),
		Failed: f.failed.Load(),
	}
}

func (c *packCounts) stats() CompressionCount {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle()
	return CompressionCount{
		Messages: c.messages.Load(), Plain: c.plain.Load(), Packed: c.packed.Load(), Time: time.Duration(c.nanos.Load()),
	}
}
