"""Common English words that people are likely to ask about. They have three to seven letters, and one has eight."""

from __future__ import annotations

_WORDS = """
    act add age air all and ant any apple arm army arrow art ask autumn away baby back bag baker ball banana band bank
    basket beach bean bear bed bee bell bench berry bike bird blanket block blue board boat body bone book bottle bowl
    box boy brain branch brave bread bridge bring brother brown brush bubble bucket build bus butter button cabin cable
    cake camera camp candle candy car card carpet carrot castle cat chair cheese cherry chicken child circle city class
    clay clean clock cloud coat coffee coin cold color cook copper corn cotton cousin cover cow cream crown cup curtain
    dance dark day deer desert desk diamond dinner doctor dog doll dollar door dragon dream dress drink drum duck dust
    eagle ear earth east egg engine evening eye face fall family farm father feather fence field finger fire fish flag
    flower fly food foot forest fork fox friend frog fruit game garden gate ghost gift giraffe girl glass glove goat
    gold goose grape grass green guitar hair hammer hand happy hat head heart hello hill honey horse hotel house hunter
    ice insect island jacket jam jelly jewel juice jump jungle key kettle king kitchen kite kitten knee knife ladder
    lake lamp laptop leaf leather lemon letter library light lion lizard lock machine magic mango map market mask meadow
    melon metal milk mirror money monkey moon morning mother mountain mouse mouth music nail name neck needle nest night
    north nose number ocean office oil olive onion orange otter oven owl paint palace panda paper parrot peach peanut
    pear pen pencil penguin people pepper phone photo piano picture pig pillow pilot pink pizza planet plate pocket
    pond potato prince puppy purple puzzle queen rabbit radio rain rainbow ribbon rice ring river road robot rock rocket
    roof room rope rose salad salt sand sauce school sea season seven shadow sheep shell ship shirt shoe shop sister
    sky sleep snail snake snow soap sock sofa song soup south spider spoon spring square star stone storm
    story street sugar summer sun sweater swim table tail tea teacher tennis tent thumb ticket tiger toast tomato tooth
    tower town toy train tree truck tulip tunnel turkey turtle uncle village violin walk wall water wave west whale
    wheat wheel window winter wolf wood wool world yellow young zebra zoo
"""

ENGLISH_WORDS: tuple[str, ...] = tuple(_WORDS.split())
