/** Words of made-up ids and names: short, plain, spelled in `a-z`. */
export const ADJECTIVES =
  'amber ancient autumn bold brave bright broad calm clear cold cool copper crimson curly damp dawn deep dry early fair fancy fine floral frosty gentle golden green happy hidden icy jolly late lively long lucky mellow misty muddy noble odd old orange pale patient plain polished proud purple quiet rapid raspy restless rough round royal shiny shy silent silver small snowy soft solitary sparkling spring square steep still summer super sweet tight tiny twilight wandering warm weathered white wild winter wispy yellow young'.split(
    ' ',
  );

export const NOUNS =
  'acorn alder ash aspen band bank bar base beech bird birch bloom boat bonus bread breeze brook bush butterfly cake cell cherry cloud credit cypress dew dust elm feather fern field fire firefly flower fog forest frog frost glade glitter grass grove hall hat haze hazel heart hill holly ivy king lab lake larch leaf limit linden maple math meadow mode moon moss mountain mouse mud night oak paper pine poetry pond poplar queen rain recipe resonance rice river rowan salad scene sea sedge shadow shape silence sky smoke snow sound star sun sunset surf term thunder tooth tree truth union unit violet voice water wave willow wind wood yew'.split(
    ' ',
  );
