// Package sim has no code but tests.
package sim
