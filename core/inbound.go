package core

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// inbound holds the calls that the peer makes in a session. The reader owns it;
// the calls' contexts are reached from elsewhere through their cells.
type inbound struct {
	// chunks are made as the peer uses slots, so that a cell never moves.
	mu     sync.Mutex // guards chunks against cancel
	chunks []*cellChunk

	rest []byte    // of a batch whose reading an inline handler left
	jobs []*inCall // of the batches since the last submit
	slab *contextSlab
	now  int64 // the clock at the first of them; 0: not read yet

	last   *RawStream // that a frame was for
	paced  uint64     // bytes of bulk that were read
	marked bool       // the peer has asked how many

	refused atomic.Uint64 // requests
}

// cellsPerChunk is small, for one chunk stays with an idle session, and with a lane.
const cellsPerChunk = 8

// laneSlots is how many slots a lane has (W92).
const laneSlots = 32

// cell is the place of the peer's calls in one slot.
type cell struct {
	generation uint32                   // the last one seen; of the reader
	partial    atomic.Pointer[assembly] // a request of which parts are missing; set by the reader, cleared by who refuses it too
	waiting    *assembly                // of a request that is whole, if it had to wait for memory; of the reader
	ctx        atomic.Pointer[callContext]
}

// cellChunk holds the cells of neighbouring slots. A nil chunk is one of which
// no slot was used.
type cellChunk [cellsPerChunk]cell

func (c *cellChunk) cells() []cell {
	if c == nil {
		return nil
	}
	return c[:]
}

// callStart is what a call begins with, besides its message.
type callStart struct {
	h        *handler
	deadline int64 // of its caller, from when the first of it arrived, manager's clock; 0: none
	prio     Priority
	capacity int // of OPEN: messages that the caller takes
	meta     *receivedMetadata
	how      packed      // how the message is compressed
	accept   wire.Accept // how the caller wants the answer
}

// cellOf returns the cell of a slot, or nil if no call was opened in it or near
// it.
func (s *session) cellOf(slot uint32) *cell {
	i := slot / cellsPerChunk
	if int64(i) >= int64(len(s.in.chunks)) || s.in.chunks[i] == nil {
		return nil
	}
	return &s.in.chunks[i][slot%cellsPerChunk]
}

// openCell returns the cell of a slot for a call to be opened in it, or nil if
// the slot is beyond what we announced.
func (s *session) openCell(slot uint32) *cell {
	if int64(slot) >= int64(s.m.cfg.MaxCalls) || s.isLane() && slot >= laneSlots {
		return nil // on a lane one call at a time is made, in one slot or a few
	}
	if c := s.cellOf(slot); c != nil {
		return c
	}
	i := int(slot / cellsPerChunk)
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	if grow := i + 1 - len(s.in.chunks); grow > 0 {
		s.in.chunks = append(s.in.chunks, make([]*cellChunk, grow)...)
	}
	s.in.chunks[i] = new(cellChunk)
	return &s.in.chunks[i][slot%cellsPerChunk]
}

// giveUp ends the call of a cell, if there is one, because its caller has: err is
// what its context ends with.
func (s *session) giveUp(c *cell, err error) {
	s.dropPartial(c)
	ctx := c.ctx.Load()
	if ctx != nil {
		// First, for a worker that is about to find that nobody waits any more.
		ctx.end(err, nil)
	}
	// Nobody but the reader puts another context there.
	if ctx != nil && c.ctx.CompareAndSwap(ctx, nil) {
		s.w.giveUp(ctx)
		if st := ctx.stream.Load(); st != nil {
			st.lose(err)
		}
	}
}

// lose ends a stream on the serving side whose answer nobody waits for.
func (st *RawStream) lose(err error) {
	st.cutOut()
	st.fail(err)
}

// used returns the cells for who is not the reader.
func (in *inbound) used() []*cellChunk {
	in.mu.Lock()
	defer in.mu.Unlock()
	return slices.Clone(in.chunks)
}

// cancel ends the contexts of all calls in progress, after the session has ended
// with err.
func (in *inbound) cancel(err error) {
	for _, chunk := range in.used() {
		for i := range chunk.cells() {
			if ctx := chunk[i].ctx.Load(); ctx != nil {
				ctx.end(context.Canceled, err)
				if st := ctx.stream.Load(); st != nil {
					st.lose(err)
				}
			}
		}
	}
}
