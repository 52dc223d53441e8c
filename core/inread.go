package core

import "encoding/binary"

// read is receive for who takes the messages as bytes. It fills p with what is
// there, and waits only while there is nothing. What does not fit stays, and is
// what Recv gets.
func (st *RawStream) read(p []byte) (n int, err error) {
	q := &st.in
	for n < len(p) {
		if q.cur == nil || q.off == len(q.cur.b) || st.dropped.Load() {
			if n > 0 {
				return n, nil
			}
			if err := st.nextChunk(); err != nil {
				return 0, err
			}
		}
		size := binary.LittleEndian.Uint32(q.cur.b[q.off:])
		switch {
		case size == largeMark && n > 0:
			return n, nil
		case size == largeMark:
			return st.readLarge(p)
		case size&packedMark != 0:
			if err := st.unfold(); err != nil {
				return n, err
			}
			continue
		}
		at := q.off + lengthSize
		took := copy(p[n:], q.cur.b[at:at+int(size)])
		n += took
		if took < int(size) {
			// The rest is a message of its own: its length stands before it, where
			// the bytes have been that were taken.
			q.off += took
			binary.LittleEndian.PutUint32(q.cur.b[q.off:], size-uint32(took))
			if q.folded == nil {
				q.takenBytes += took
			}
			return n, nil
		}
		q.off = at + took
		st.took(took)
	}
	return n, nil
}

// readLarge is read for a message with memory of its own, which stays until all
// of it was taken.
func (st *RawStream) readLarge(p []byte) (int, error) {
	m, err := st.awaitLarge()
	if err != nil {
		return 0, err
	}
	if m.isPacked() {
		if err := st.unfoldLarge(m); err != nil {
			return 0, err
		}
	}
	n := copy(p, m.mem.b[m.taken:])
	m.taken += n
	if m.taken == len(m.mem.b) {
		st.takeLarge(m)
		m.mem.put()
	}
	return n, nil
}
