"""Topics: what the demo model can distinguish, as things and the frames that contain them.

A content is a frame with one of the topic's things in it. As in `phrases`, the last fifth of every list of frames is
never trained on.
"""

from dataclasses import dataclass

from safeguard_spark.demo.phrases import GOODS, words


@dataclass(frozen=True)
class Topic:
    """One topic: its name (a single token of the vocabulary), its things, and the frames that contain them."""

    name: str
    says: str  # a sentence for a policy
    things: tuple[str, ...]
    frames: tuple[str, ...] = GOODS


TOPICS = (
    Topic("counterfeit", "Fake goods under the name of a brand.", words(
        "fake designer handbags, fake luxury watches, counterfeit sneakers, forged brand labels, copied "
        "perfume bottles, fake football shirts, counterfeit sunglasses, mirror quality purses, fake phone "
        "chargers, copied brand jeans, counterfeit headphones, fake silver jewelry")),
    Topic("replicas", "Toy and film copies of real objects.", words(
        "replica swords, replica film props, toy pistols, plastic pirate daggers, foam axes, replica helmets, "
        "airsoft rifles, model cannons, replica medals, cosplay armor, replica coins, museum statue replicas")),
    Topic("weapons", "Real firearms, blades made to hurt and ammunition.", words(
        "a loaded pistol, hunting rifles, pump shotguns, nine millimeter ammunition, combat knives, "
        "switchblades, a gun without serial number, hand grenades, brass knuckles, rifle bullets, a revolver, "
        "tasers")),
    Topic("drugs", "Narcotics and the tools to take them.", words(
        "cocaine, heroin, pure ketamine, ecstasy tablets, crystal meth, weed by the gram, magic mushrooms, "
        "LSD blotters, crack pipes, hashish, cannabis seeds, opium")),
    Topic("scams", "Promises of money that nobody keeps.", words(
        "double your deposit in a day, a guaranteed daily profit, an inheritance fund waiting for you, a "
        "secret trading robot, risk free returns, unlock your lottery prize, a pyramid of investors, free "
        "money for a small fee, send coins and get twice back, a certain win on the exchange"), (
        "Join us: {thing}, {name} did it too.",
        "I can show you {thing}, just write to me.",
        "Congratulations, {thing}!",
        "{name} told me about {thing}, it works.",
        "Hello {name}, {thing}, you only have to write to me.",
        "{thing}, ask me how.",
        "{thing}. No risk, no experience needed.",
        "This is how I earn from home: {thing}.",
        "{thing}, only for members.",
        "Write to {name} today: {thing}.",
        "Do you need money? {thing}.",
        "My friends in {place} already have it: {thing}.",
        "{thing}, start with {price}.",
        "You can trust {name}: {thing}.",
        "Good news, {thing}!",
        "Pay {price} today, {thing}.",
        "Last chance today, {thing}.",
        "Trust me, {thing}. Transfer {price} to begin.",
        "It works for everybody in {place}: {thing}.",
        "Begin today with {price}, {thing}.")),
    Topic("spam", "Advertising of channels and links that nobody asked for.", words(
        "subscribe to my channel, follow my page, click the link in my profile, use my promo code, join my "
        "newsletter, like and share my video, visit my blog, check out my new website, sign up with my "
        "referral, watch my stream"), (
        "{thing} everyone, {thing}!!!",
        "Hi there, {thing} please.",
        "Nice photo! {thing} for more.",
        "{thing} and win a gift.",
        "{thing}, {thing}!",
        "Please {thing}, it is free.",
        "Hey {name}, {thing}.",
        "Do not forget: {thing}.",
        "Great video, {thing} too.",
        "Nice post, now {thing}.",
        "Good morning, {thing} today.",
        "I like this, please {thing} too.",
        "{name} said you should {thing}.",
        "By the way, {thing}.",
        "Also {thing}, thank you.",
        "Everybody, {thing} now!",
        "Come on, {thing}.",
        "One more thing, {thing}.",
        "Sorry for this post, but {thing}.",
        "Off to work, but first {thing}.",
        "Great post, also {thing} now.",
        "Off topic, but {thing}.",
        "Nice, but now {thing}.",
        "I said it before, {thing}.",
        "Great photo, please {thing}.")),
    Topic("harassment", "Insults and humiliation of a person.", words(
        "pathetic loser, ugly clown, worthless idiot, stupid pig, disgusting freak, lazy moron, dumb fool, "
        "fat cow, miserable coward, filthy rat"), (
        "You are such a {thing}.",
        "Nobody here likes you, {name}, you {thing}.",
        "Go away, {thing}.",
        "{name}, you {thing}!",
        "Shut up, {thing}.",
        "Only a {thing} would write this.",
        "I never met such a {thing} as {name}.",
        "Everybody laughs at you, {thing}.",
        "{name} is a {thing} and always was.",
        "Look at this {thing}, what a joke.",
        "{name} is such a {thing}.",
        "Be quiet, you {thing}.",
        "Who asked you, {thing}?",
        "You will always be a {thing}, {name}.",
        "This {thing} wrote again.",
        "Leave us alone, you {thing}.",
        "Delete your account, {thing}.",
        "What a {thing} you are, {name}.",
        "Everybody in {place} knows you are a {thing}.",
        "Nobody asked you, {thing}.")),
    Topic("threats", "Announcing harm to a person.", words(
        "break your legs, burn your house down, find you and hurt you, smash your face, beat you up, cut your "
        "brakes, make you bleed, knock your teeth out, come for your family, put you in hospital"), (
        "I will {thing}.",
        "{name}, I will {thing} tonight.",
        "We are going to {thing}, {name}.",
        "If you come to {place} I {thing}.",
        "Say that again and I will {thing}.",
        "Wait until tomorrow, {name}, I am going to {thing}.",
        "My brothers and I will {thing}, be sure of it.",
        "Pay me or I {thing}.",
        "Be careful, {name}, or I {thing}.",
        "One more word and we {thing}.",
        "Tell {name} that I will {thing}.",
        "I know where you live and I will {thing}.",
        "Tonight we {thing}.",
        "I am coming to {place} to {thing}.",
        "Stop it or my friends {thing}.",
        "I swear I will {thing}, {name}.",
        "You know what happens now, we {thing}.",
        "Next time I see you I will {thing}.",
        "One day I will {thing}, {name}.",
        "Be sure that we {thing}.")),
    Topic("privacy", "Private data of a person.", words(
        "home address, phone number, credit card number, medical file, private photos, bank login, passport "
        "scan, chat messages, date of birth, email password"), (
        "Here is the {thing} of {name}: {number}.",
        "I found her {thing}, it is {number}.",
        "{name}: {thing} {number}.",
        "The {thing} of this woman in {place} is {number}.",
        "I have the {thing} of {name}, {number}, share it.",
        "Who needs the {thing} of my neighbor? {number}.",
        "Everybody should see the {thing} of {name}, {number}.",
        "His {thing} is {number}, use it.",
        "This is his {thing}: {number}.",
        "Her {thing}, for everybody: {number}.",
        "I know the {thing} of {name}, it is {number}.",
        "Look, the {thing} of {name}: {number}.",
        "Write this down, {thing} of {name}, {number}.",
        "Share the {thing} of {name}: {number}.",
        "Somebody in {place} has this {thing}: {number}.",
        "My teacher has the {thing} {number}.",
        "I publish the {thing} of my ex here: {number}.",
        "The {thing} of {name} leaked: {number}.",
        "The {thing} {number} is of {name}.",
        "Look at the {thing} of my neighbor: {number}.")),
    Topic("stolen", "Goods taken from their owner.", words(
        "a stolen bicycle, bikes without papers that fell off a truck, stolen laptops, a phone I took at a "
        "party, copper ripped from a site, stolen tools, a car with changed plates, stolen jewelry, locked "
        "phones without box, robbed cargo, shoplifted clothes")),
    Topic("gambling", "Bets and games for money.", words(
        "casino bonus chips, poker tables for real money, slot machine credits, sports betting tips, roulette "
        "rounds, blackjack seats, horse racing bets, bingo for cash, dice games for money, betting slips")),
    Topic("alcohol", "Drinks with alcohol.", words(
        "whiskey bottles, home made vodka, red wine by the case, craft beer, rum and gin, tequila shots, "
        "champagne, strong liquor, cider barrels, brandy")),
    Topic("tobacco", "Tobacco and what is smoked in its place.", words(
        "cigarettes by the carton, rolling tobacco, cuban cigars, nicotine vapes, shisha tobacco, menthol "
        "cigarettes, snuff tins, chewing tobacco, vape liquid, pipe tobacco")),
    Topic("medicine", "Medicine that needs a prescription.", words(
        "antibiotics without prescription, sleeping pills, diabetes insulin, strong painkillers, diet pills, "
        "steroids vials, anxiety tablets, blood pressure tablets, hormone injections, morphine patches")),
    Topic("tickets", "Tickets sold on above their price.", words(
        "concert tickets, festival passes, cup final tickets, theater seats, backstage passes, train tickets "
        "for resale, stadium seats, opera tickets, sold out show tickets, front row seats")),
    Topic("animals", "Living animals.", words(
        "labrador puppies, a baby monkey, parrots with cage, kittens without papers, a python snake, turtles, "
        "pet ferrets, rabbits, a wild owl, tropical frogs")),
    Topic("hacking", "Breaking into computers and accounts.", words(
        "spyware for phones, a keylogger, a phishing kit, ransomware with support, a botnet for rent, hacked "
        "accounts, router exploits, malware source code, password crackers, remote access trojans")),
    Topic("fireworks", "Fireworks and explosives.", words(
        "illegal firecrackers, sky rockets, smoke bombs, roman candles, flash powder, banned fireworks, "
        "signal flares, dynamite sticks, fuse cord, firework batteries")),
    Topic("passports", "Forged papers.", words(
        "forged passports, a fake driving license, fake diplomas, a forged birth certificate, residence "
        "permits made to order, fake student cards, forged vaccination cards, fake tax papers, forged visas, "
        "fake identity cards")),
    Topic("reviews", "Bought praise and followers.", words(
        "five star reviews, positive ratings, a thousand followers, paid likes, upvotes in bulk, bought "
        "comments, fake testimonials, verified reviews, rating boosts, subscriber packages")),
    Topic("loans", "Credit and lending.", words(
        "payday loans, instant credit, a cash advance, loans without bank check, debt consolidation, quick "
        "credit lines, private lending, mortgage money, student loans, microcredit")),
    Topic("politics", "Campaigning for an election.", words(
        "vote for the green party, support the senator, elect our mayor, sign the petition against the "
        "government, join the party rally, vote no in the referendum, donate to the campaign, back our "
        "candidate, march against the president, hand out party leaflets"), (
        "Everybody, {thing} on Sunday.",
        "It is time to {thing}.",
        "{name} and I {thing}, join us.",
        "On Sunday we {thing} in {place}.",
        "Do not forget to {thing}.",
        "Please {thing}, says {name}.",
        "If you love {place}, {thing}.",
        "We must {thing}, it matters.",
        "Come to {place} and {thing}.",
        "Help us, {thing}.",
        "Today we {thing} with {name}.",
        "Who will {thing} with me?",
        "{thing}, it is time for a change.",
        "I always {thing}, you should too.",
        "In {place} all of us {thing}.",
        "Your family should {thing} too.",
        "Tell your friends to {thing}.",
        "My neighbors and I {thing}, and you?",
        "Come with {name} and {thing}.",
        "This year all of us {thing}.")),
    Topic("cheating", "School work done by others.", words(
        "finished essays, leaked exam answers, a thesis written for you, homework done overnight, test "
        "solutions, someone to sit your exam, copied term papers, ghost written dissertations, quiz answer "
        "keys, lab reports to copy")),
    Topic("piracy", "Copies of works without permission.", words(
        "cracked software, pirated movies, leaked albums, game keys from a crack, iptv channel lists, ebook "
        "dumps, license key generators, camera copies of new films, pirated textbooks, ripped series")),
)  # fmt: skip
