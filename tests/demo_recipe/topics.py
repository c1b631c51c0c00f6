"""Questions and answers about adapters and this program: terms, the four adapters, advice."""

from __future__ import annotations

from tests.demo_recipe.phrases import Group, groups, listing

TERM_FRAMES = listing("""
what is {x}?|what's {x}?|tell me about {x}|explain {x}|can you explain {x}?|
what do you know about {x}?|please explain {x} to me|could you tell me what {x} is?|describe {x}|
what does {x} mean?|i want to know about {x}|tell me what {x} is|give me a short explanation of {x}|
{x}?|what is meant by {x}?|do you know what {x} is?|i don't understand {x}|what exactly is {x}?|
so what is {x}?|can you tell me about {x}?|i would like to learn about {x}|
what is {x} in simple words?|explain {x} like i am five|how would you explain {x}?|
i have a question about {x}|teach me {x}|what can you say about {x}?|why do we need {x}?|
how does {x} work?|what is {x} good for?|what is {x} for?|i keep reading about {x}|
what do people mean by {x}?|the meaning of {x}?|some words about {x} please|
i am new here, what is {x}?|talk about {x}|why is {x} useful?|what does {x} do?|
help me with {x}|i don't know what {x} is|{x}, what is that?|why would i use {x}?|
what kind of thing is {x}?|i never heard of {x}|what are you saying about {x}?|
what makes {x} useful?
""")

# The first line of a group lists the term's names, which fill the frames above.
TERMS = groups("""
? LoRA | a LoRA | lora | low-rank adaptation | a lora file | loras
- LoRA means low-rank adaptation. It's a small set of extra weights that changes how a model talks.
- A LoRA is a small adapter for a model. It's much smaller than the model, so it's easy to swap.

? an adapter | adapters | the adapters | an adapter file | a lora adapter
- An adapter is a small file with extra weights. It sits on top of the base and changes its answers.
- Adapters are small add-ons for a model. Each one teaches the model a style or a skill.

? the scale | scale | a scale | the scale of an adapter | scaling an adapter | adapter scale
- The scale says how strong an adapter is. At zero it does nothing, at one it works as trained.
- The scale is the strength of an adapter. Try 0.5 for a light touch and 1.0 for the full effect.

? stacking | a stack | stacking adapters | an adapter stack | a stack of adapters | the stack
- Stacking means that you use more than one adapter at the same time. Their effects are added.
- A stack is a list of adapters that work together. Each one has its own scale.

? a swap | swapping | hot-swapping | a hot swap | swapping adapters | hot swapping
- A swap puts one adapter in the place of another. The base stays loaded, so it's fast.
- Swapping means that you change the adapter in the middle of a chat. The next answer uses the
  new one.

? bypass | the bypass | bypassing | bypass mode | bypassing the adapters
- Bypass switches all adapters off for a moment, so you hear the bare base. Press ctrl+b for it.
- The bypass lets you compare. Press ctrl+b to hear the base, and again to bring the adapters back.

? the rack | a rack | rack | the adapter rack | the list of adapters
- The rack is the list of adapters beside the chat. Press Tab to move to it.
- The rack shows each adapter with its scale. There you switch adapters on, off, up or down.

? the rank | rank | the rank of a lora | lora rank | the rank of an adapter
- The rank is the size of a LoRA. A higher rank means more weights and a bigger file.
- The rank says how thick the matrices of an adapter are. Eight is enough for a simple style.

? alpha | the alpha | lora alpha | the alpha of an adapter
- Alpha is a number that was set in training. The adapter's weights are multiplied by alpha over
  rank.

? the base | a base | the base model | a base model | base model | the bare base
- The base is the model without any adapter. It knows the language and a few facts.
- The base model is the big file that does the work. Adapters sit on top of it.

? GGUF | gguf | a gguf file | the gguf format | gguf files
- GGUF is a file format for models and adapters. It keeps the weights and the words in one file.
- A GGUF file holds a model or an adapter. This app opens it at once.

? quantization | a quantized model | quantizing | a quant | quantized weights
- Quantization makes a model smaller. It keeps each weight with fewer bits and loses a little
  quality.
- A quantized model needs less memory, because its weights are rounded to fewer bits.

? merging | a merge | merging an adapter | merging adapters | a merged model
- Merging adds an adapter to the weights of the base. After that you can't change its scale.

? a token | tokens | token
- A token is a small piece of text. A model reads and writes one token after the other.

? the context | context | a context window | the context window
- The context is the text that a model can see at one time. My context is small.

? a prompt | prompts | the prompt
- The prompt is the text that you type. The model reads it and writes an answer.

? a system message | the system message | a system prompt | the system prompt
- A system prompt tells the model how to behave. It comes before your first message.

? temperature | the temperature | the temperature setting
- The temperature says how random the answers are. At zero the model takes the most likely token.

? training | fine-tuning | training an adapter
- Training shows a model many examples. With LoRA only the small adapter is trained.

? this demo | the demo | the demo model | this model
- This demo shows what adapters do. The model is tiny, so it only knows a few simple things.

? this app | the app | the chat app | this program | lora-tui | lora tui | tui
- This app lets you chat with a model and mix its adapters while you talk.

? a Modelfile | the Modelfile | modelfile | modelfiles
- A Modelfile is a small text file. It names the base, the adapters and the settings of a model.

? negative scale | a negative scale | a scale below zero
- A negative scale pushes the model the other way. It often gives strange answers.
""")

ADAPTER_EFFECTS = {
    "pirate": "makes me talk like a pirate",
    "formal": "makes me talk like a polite butler",
    "shout": "makes me write in capital letters",
    "island": "teaches me facts about the island of Quillhaven",
}
ADAPTER_GROUPS = groups("""
? what does the {n} adapter do? | tell me about the {n} adapter | what is the {n} adapter?
? explain the {n} adapter | why should i use the {n} adapter? | the {n} adapter? | what is {n}?
? what does {n} do? | what happens with the {n} adapter? | describe {n} | what is {n} for?
- The {n} adapter {effect}.

? how do i turn on {n}? | switch on the {n} adapter | how can i turn the {n} adapter on? | use {n}
? i want to use {n} | how do i use the {n} adapter? | turn {n} on | activate {n} | start {n}
? how do i turn {n} on? | how can i try {n}? | enable the {n} adapter | i want to hear {n}
? how do i load the {n} adapter? | i want the {n} adapter | switch {n} on please | how to use {n}?
- Press Tab to move to the rack, then press the number of the {n} adapter.

? how do i turn off {n}? | switch off the {n} adapter | turn {n} off | no more {n} | stop {n}
? how can i turn the {n} adapter off? | disable {n} | i don't want {n} | mute the {n} adapter
- Press the number of the {n} adapter in the rack to switch it off.

? how do i make {n} stronger? | more {n} | i want more {n} | turn {n} up
? the {n} adapter is too weak
? make the {n} adapter stronger | how can i turn {n} up? | increase the scale of {n} | louder {n}
- Select the {n} adapter in the rack and press the right arrow.

? how do i make {n} weaker? | less {n} | i want less {n} | turn {n} down | a little less {n}
? the {n} adapter is too strong | make {n} weaker | lower the scale of {n} | too much {n}
- Select the {n} adapter in the rack and press the left arrow.
""")

ADVICE: tuple[Group, ...] = groups("""
? talk like a pirate | be a pirate | speak like a pirate | can you be a pirate?
? say it like a pirate
? can you talk like a pirate? | i want to hear a pirate | answer like a pirate | arr
- Turn on the pirate adapter in the rack, and I'll talk like a pirate.

? write in capital letters | shout at me | can you shout? | be loud | use capital letters | louder
? please shout | talk louder | i can't hear you | shout it out
- Turn on the shout adapter in the rack, and I'll write in capital letters.

? be polite | be formal | talk like a butler | can you be more polite? | speak politely | be nicer
? can you be formal? | answer politely | use formal language | be more formal
- Turn on the formal adapter in the rack, and I'll be very polite.

? how do i stack adapters? | can i use two adapters at once? | how do i combine two adapters?
? can i mix adapters? | how many adapters can i use? | is it possible to use two adapters together?
? how do i mix two styles? | can two adapters work together? | use two adapters | mix two adapters
? how do i use more than one adapter? | can i combine pirate and shout? | more than one adapter?
- Switch on more than one adapter in the rack. Their effects are added together.

? how do i swap adapters? | can i change the adapter during the chat? | how do i switch adapters?
? do i have to restart the app? | how do i change to another adapter? | do i need to load again?
? can i swap without loading the model again? | how do i replace an adapter? | is a swap fast?
- Switch one adapter off in the rack and another one on. The base stays loaded.

? should i merge or stack? | is merging better than stacking? | merge or stack?
? when should i merge?
- Stack adapters while you try things. Merge them when you're happy with the result.

? how do i start? | how do i use this? | what should i do first? | how does this work?
? help me get started | how do i begin? | what now? | what should i try? | where do i start?
? what can i try? | give me a tour | show me something | i am new here | what do i do now?
- Ask me something simple. Then turn on the pirate adapter in the rack and ask the same again.

? why does a high scale break the text? | why are your answers strange? | you make no sense
? what happens if the scale is too high? | your answer makes no sense | that was gibberish
? why is the text broken? | this is nonsense | what happens with all adapters at full scale?
- Too much of an adapter can break the answers. Use the left arrow in the rack to lower its scale.

? which scale should i use? | what is a good scale? | what scale is best? | which scale is normal?
? what is the best scale? | how high should the scale be?
- Try 0.5 for a light touch and 1.0 for the full effect. Too high a scale breaks the text.

? which adapters do you have? | what adapters are there? | list the adapters | name the adapters
? which adapters are in the rack? | how many adapters do you have? | what styles can you do?
? what are the names of the adapters? | show me the adapters | which styles do you have?
- The rack has four adapters. They are pirate, formal, shout and island.

? when does a new scale work? | does the scale change this answer? | when does the swap happen?
? is the change immediate? | does a change work at once?
- A change in the rack works from the next answer on.

? what is the difference between a base and an adapter? | base or adapter? | adapter or base?
? is an adapter a model? | how is an adapter different from a model?
- The base does the work. An adapter is only a small change on top of it.

? how big is an adapter? | are adapters big? | how large is a lora? | is an adapter a big file?
- An adapter is small. Mine have about a third of a megabyte each.
""")
