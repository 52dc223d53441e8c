package link

// The program and the process of the link talk in JSON over a socket that keeps
// message boundaries: the program sends a setup and then requests, each is answered
// once, in order. A file comes along with the request that is about it, and a socket
// that was asked for with its answer.

// helperName is the name of the process of the link, by which the program
// knows that it is to be one.
const helperName = "gridmux-link"

// maxMessage is the size of the largest message.
const maxMessage = 8 << 10

type setup struct {
	Seed       uint64
	Conditions Conditions
}

const (
	opSet     = "set"
	opBlock   = "block"
	opStats   = "stats"
	opSocket  = "socket"
	opCapture = "capture"
)

type request struct {
	Op string

	Direction  Direction
	Conditions Conditions // opSet
	Blocked    bool       // opBlock

	End                    int // opSocket, opCapture
	Domain, Type, Protocol int // opSocket
}

type answer struct {
	Error string // why it was refused, else empty
	Errno int    // of opSocket, the same as a number

	IPv6  bool  // to a setup: the ends have IPv6
	Stats Stats // to opStats
}
