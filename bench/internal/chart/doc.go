// Package chart draws the pictures of a report as SVG: bars with intervals, percentile
// curves, series over time, and maps of winners.
//
// All have the same width, that of a phone, so that a page puts as many side by side as it
// has room for and none is ever scaled down until its text cannot be read. They have no
// script and refer to nothing outside. Colours are those of a light page, and a style
// sheet in each picture replaces them where the viewer prefers a dark one; a viewer that
// knows no such preference shows the light one.
//
// Functions that draw may be called concurrently.
package chart
