// Command checker reads histories of calls to a database that several processes made at once, and has porcupine look for one order of all of them
// in which each call takes effect between its begin and its end and finds what it was told. One line of JSON for each history.
//
//	checker [-timeout 60s] [-html FILE] HISTORY...
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/anishathalye/porcupine"
)

type verdict struct {
	History string `json:"history"`
	// "ok", "violation" or "unknown"
	Result     string   `json:"result"`
	Operations int      `json:"operations"`
	Unknown    int      `json:"unknown"`
	Why        []string `json:"why,omitempty"`
	Ms         int64    `json:"ms"`
}

func main() {
	timeout := flag.Duration("timeout", time.Minute, "for each history")
	html := flag.String("html", "", "where to draw a history that is no good")
	flag.Parse()
	for _, path := range flag.Args() {
		h, err := readHistory(path)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", path, err)
			os.Exit(2)
		}
		began := time.Now()
		v := h.judge(*timeout, *html)
		v.History, v.Ms = path, time.Since(began).Milliseconds()
		line, _ := json.Marshal(v)
		fmt.Println(string(line))
	}
}

func (h *history) judge(timeout time.Duration, html string) verdict {
	v := verdict{Operations: len(h.operations), Result: "ok"}
	for _, o := range h.operations {
		if o.outcome == "unknown" {
			v.Unknown++
		}
	}
	v.Why = h.settle()
	for _, operations := range h.split() {
		wrong := bind(operations)
		if len(wrong) == 0 {
			switch porcupine.CheckOperationsTimeout(model, asPorcupine(operations, narrowed), timeout) {
			case porcupine.Unknown:
				v.Result = "unknown"
			case porcupine.Illegal:
				wrong = append(wrong, "there is no order of the operations")
			}
		}
		if len(wrong) > 0 && html != "" {
			wrong = append(wrong, draw(operations, timeout, html)...)
		}
		v.Why = append(v.Why, wrong...)
	}
	if len(v.Why) > 0 {
		v.Result = "violation"
	}
	return v
}

// split: each key by itself, if no operation touches several.
func (h *history) split() [][]*operation {
	if h.header.Keys != "single" {
		return [][]*operation{h.operations}
	}
	models := make([][]*operation, h.header.KeyCount)
	for _, o := range h.operations {
		models[o.keys[0]] = append(models[o.keys[0]], o)
	}
	return models
}

// narrowed: between which instants an operation takes effect, by all that is known.
func narrowed(o *operation) (call, end int64) { return o.call, o.end }

// recorded: likewise, by nothing but its call and its return.
func recorded(o *operation) (call, end int64) {
	if o.kind == "read" && !o.strong {
		return 0, o.returned
	}
	return o.called, o.returned
}

func asPorcupine(operations []*operation, span func(*operation) (int64, int64)) []porcupine.Operation {
	clients := map[string]int{}
	var list []porcupine.Operation
	for _, o := range operations {
		if _, known := clients[o.instance]; !known {
			clients[o.instance] = len(clients)
		}
		call, end := span(o)
		list = append(list, porcupine.Operation{ClientId: clients[o.instance], Input: o, Call: call, Return: end})
	}
	return list
}

// draw: as it was recorded. Should there be an order now, then what was concluded from versions is wrong: that is told too.
func draw(operations []*operation, timeout time.Duration, html string) []string {
	result, info := porcupine.CheckOperationsVerbose(model, asPorcupine(operations, recorded), timeout)
	if err := porcupine.VisualizePath(model, info, html); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", html, err)
	}
	if result == porcupine.Ok {
		return []string{"without what follows from versions there is an order: the checker may be wrong"}
	}
	return nil
}
