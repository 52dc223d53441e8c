package coretest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"time"
)

// A request of the ledger:
//
//	 0  call id
//	 8  number of the call among those of its caller
//	16  mode
//	17  duration of the job in nanoseconds
//	25  size of the response
//	29  length of the caller's name
//	30  the caller's name, filler
//	    CRC32C of all before, 4 bytes
//
// A response, and the detail of an error, is call id, number, filler, CRC32C.
const (
	requestHead  = 30
	responseHead = 16
	sumSize      = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var (
	errShort  = errors.New("too short to be one of the ledger's")
	errSum    = errors.New("its bytes were changed")
	errCaller = errors.New("the name of its caller does not fit")
)

// ramp is every byte value in order, twice, so that 256 of them can be copied
// from any value on.
var ramp = func() (r [512]byte) {
	for i := range r {
		r[i] = byte(i)
	}
	return r
}()

// fill appends what depends on id until dst has size bytes, and the sum of
// everything from start on.
func fill(dst []byte, start, size int, id uint64) []byte {
	dst = slices.Grow(dst, start+size-len(dst))
	for i, end := len(dst), start+size-sumSize; i < end; i = len(dst) {
		n := min(256-i%256, end-i)
		value := byte(id) + byte(i) + byte(i>>8)
		dst = append(dst, ramp[value:int(value)+n]...)
	}
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// checkSum returns b without its sum.
func checkSum(b []byte, head int) ([]byte, error) {
	if len(b) < head+sumSize {
		return nil, fmt.Errorf("%d bytes: %w", len(b), errShort)
	}
	body := b[:len(b)-sumSize]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(b[len(body):]) {
		return nil, fmt.Errorf("%d bytes: %w", len(b), errSum)
	}
	return body, nil
}

// request is what a handler of the ledger reads.
type request struct {
	id, seq  uint64
	job      Job
	response int
	caller   string
}

func appendRequest(dst []byte, r *request, size int) []byte {
	start := len(dst)
	dst = binary.LittleEndian.AppendUint64(dst, r.id)
	dst = binary.LittleEndian.AppendUint64(dst, r.seq)
	dst = append(dst, byte(r.job.Mode))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(r.job.For))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(r.response))
	dst = append(dst, byte(len(r.caller)))
	dst = append(dst, r.caller...)
	return fill(dst, start, max(size, len(dst)-start+sumSize), r.id)
}

// requestID returns the call id of a request, without verifying anything.
func requestID(b []byte) (id uint64, ok bool) {
	if len(b) < requestHead+sumSize {
		return 0, false
	}
	return binary.LittleEndian.Uint64(b), true
}

func parseRequest(b []byte) (r request, err error) {
	b, err = checkSum(b, requestHead)
	if err != nil {
		return r, err
	}
	r.id = binary.LittleEndian.Uint64(b)
	r.seq = binary.LittleEndian.Uint64(b[8:])
	r.job.Mode = Mode(b[16])
	r.job.For = time.Duration(binary.LittleEndian.Uint64(b[17:]))
	r.response = int(binary.LittleEndian.Uint32(b[25:]))
	n := int(b[29])
	if requestHead+n > len(b) {
		return r, errCaller
	}
	r.caller = string(b[requestHead : requestHead+n])
	return r, nil
}

func appendResponse(dst []byte, r *request) []byte {
	start := len(dst)
	dst = binary.LittleEndian.AppendUint64(dst, r.id)
	dst = binary.LittleEndian.AppendUint64(dst, r.seq)
	return fill(dst, start, max(r.response, responseHead+sumSize), r.id)
}

// checkResponse holds a response to the call that it is to answer.
func checkResponse(b []byte, c *Call, size int) error {
	body, err := checkSum(b, responseHead)
	if err != nil {
		return err
	}
	if id, seq := binary.LittleEndian.Uint64(body), binary.LittleEndian.Uint64(body[8:]); id != c.id || seq != c.seq {
		return fmt.Errorf("it answers call %d (number %d of its caller)", id, seq)
	}
	if want := max(size, responseHead+sumSize); len(b) != want {
		return fmt.Errorf("it has %d bytes, %d were asked for", len(b), want)
	}
	return nil
}
