// Package peers registers the contenders that are not gridmux: libraries as
// their users would set them up, and featureless multiplexers that show what
// the machine allows. They are the fixed part of the yardstick. Nothing is
// changed in them, for a figure means something only as long as what it is
// compared with stays the same.
package peers
